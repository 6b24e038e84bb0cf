"""A disk that can lose power and fail: it watches a directory and tells what may be left of it.

`Log` keeps, in order, every effect on a directory that a power cut may undo: `calls.watched` records those of the
`os` module, `vfs.DiskVfs` those of SQLite. `image.images` rebuilds what the disk may hold after a cut at any place
of the log, and `faults.Faults` lets the n-th operation fail. The operations themselves are carried out on real
files, so what runs on a watched directory is the program itself and no model of it; only what a disk keeps is
modelled, and as unkindly as the rules of POSIX allow:

- What was synced is there. Of everything else any part may be there and any part may not, torn at 512 bytes; what
  was never written shows zeros or the leavings of other files.
- A name (of a new, a linked, a renamed or a deleted file) is kept when its *directory* was synced.
- After a sync that failed, the disk owes nothing for what it was to keep, and a later sync that succeeds does not
  change that: the kernel has called those pages clean. Only what is written anew can be synced anew.

    log = Log(root)
    vfs = DiskVfs(log, "test")
    with watched(log):
        work_on(root, vfs="test")
    for image in images(log, cuts, seed=1):
        image.write(elsewhere)
"""
