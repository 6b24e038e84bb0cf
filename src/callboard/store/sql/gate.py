"""The gate: what must be true before a database file is touched.

SQLite releases before the repair of the WAL-reset defect may lose committed pages, and a write-ahead log on a
network file system is read by machines that do not share its memory. Both destroy data rarely and silently, so
both are refused aloud. `os.statvfs` does not tell the kind of a file system; the mount table does.
"""

from __future__ import annotations

import os
from pathlib import Path

import apsw

from callboard.errors import StoreRefused

_NETWORK = frozenset(
    """9p afs beegfs ceph cifs coda davfs gfs gfs2 glusterfs gpfs lustre ncpfs nfs nfs4 ocfs2 orangefs pvfs2
    smb2 smb3 smbfs vboxsf vmhgfs prl_fs shfs""".split()
)
_REMOTE_FUSE = (
    "sshfs", "s3fs", "rclone", "gcsfuse", "glusterfs", "ceph", "davfs2", "curlftpfs", "goofys", "blobfuse", "hdfs",
    "juicefs", "vmhgfs-fuse", "smbnetfs", "mount-s3",
)  # fmt: skip


def check_version(version: str) -> None:
    """Raises StoreRefused for a SQLite without the repair: 3.51.3 or newer but 3.52.0, 3.50.7+, 3.44.6+."""
    number = tuple(int(part) for part in version.split("."))[:3]
    line = number[:2]
    repaired = number >= (3, 51, 3) and number != (3, 52, 0)
    if repaired or (line == (3, 50) and number >= (3, 50, 7)) or (line == (3, 44) and number >= (3, 44, 6)):
        return
    raise StoreRefused(
        f"SQLite {version} can lose committed data (the WAL-reset defect); 3.51.3 or newer is needed, not 3.52.0. "
        "Install the driver we ship with: pip install --upgrade apsw"
    )


def check_file_system(path: Path, mounts: str | None = None) -> None:
    """Raises StoreRefused when `path` lies on a network file system. `mounts` is the text of /proc/mounts."""
    kind = file_system(path, mounts)
    if kind in _NETWORK or kind.removeprefix("fuse.") in _REMOTE_FUSE:
        raise StoreRefused(
            f"{path} lies on a network file system ({kind}), where SQLite's locks and log are not safe. "
            "Keep the project on a local disk, or use PostgreSQL."
        )


def file_system(path: Path, mounts: str | None = None) -> str:
    """The kind of file system that `path` lies on, "" where there is no mount table."""
    if mounts is None:
        try:
            mounts = Path("/proc/self/mounts").read_text(errors="surrogateescape")
        except OSError:
            return ""
    real, best, kind = os.path.realpath(path), "", ""
    for line in mounts.splitlines():
        fields = line.split(" ")
        if len(fields) < 3:
            continue
        point = _plain(fields[1])
        if len(point) >= len(best) and (real == point or real.startswith(point.rstrip("/") + "/")):
            best, kind = point, fields[2]
    return kind


def _plain(text: str) -> str:
    """The mount table writes blanks and the like in octal."""
    for code, char in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
        text = text.replace(code, char)
    return text


def sqlite_version() -> str:
    """The SQLite that the driver brings."""
    return str(apsw.sqlite_lib_version())
