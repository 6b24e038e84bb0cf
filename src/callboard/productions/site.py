"""Where a production stands and how it is laid out: its configuration settled, its directory found, its own copy kept.

Setting up a production writes the effective configuration into its settings directory, so that the directory can
later be opened by itself, from anywhere, moved or copied. A user's file stands above that copy, with a warning when
they lay things out differently; a mapping that leaves keys out (a `production:` block in a pipeline) takes them from
the copy, because "the production profiles" means the one that is there.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from callboard.crash import point
from callboard.errors import InvalidFile, InvalidName, NotFound, UsageError
from callboard.productions import folder
from callboard.productions.config import FILE, LAYOUT, Given, ProductionConfig, parse, read, settle

if TYPE_CHECKING:
    from collections.abc import Mapping


class Site:
    """One production: `config`, its directory `root` (absolute), and `prefix`, that directory as configured."""

    def __init__(self, config: str | Path | None, config_dict: Mapping[str, Any] | None) -> None:
        if config is None and config_dict is None:
            raise UsageError("name the configuration file of a production, or pass config_dict")
        directory = Path(config) if config is not None and os.path.isdir(config) else None
        sources = [] if config is None else [_copy_in(directory)] if directory else [read(config)]
        if config_dict is not None:
            sources.append(Given(config_dict))
        self._settle(sources, directory)
        kept = None if directory else self.kept()
        if kept is not None and config is None:
            self._settle([_layout_of(kept), *sources], None)
        elif kept is not None:
            self._compare(kept)

    def _settle(self, sources: list[Given], directory: Path | None) -> None:
        config: ProductionConfig = settle(*sources)
        self.config, self.warnings = config, [warning for given in sources for warning in given.warnings]
        self.home = Path(os.path.abspath(Path(config.project_home).expanduser()))
        self.root = self.home / config.production_dir / config.name
        self.prefix = "/".join((config.project_home.rstrip("/"), config.production_dir, config.name))
        if directory is not None and not (self.root.is_dir() and self.root.samefile(directory)):
            self.root = Path(os.path.abspath(directory))  # moved, copied, or seen from elsewhere
            self.prefix, self.home = directory.as_posix(), self.root.parent.parent

    def kept(self) -> Given | None:
        """What the production's own copy says, None when there is none that can be read."""
        try:
            with folder.opened(self.root, self.config.settings_dir) as settings:
                return parse(folder.read(settings, FILE), str(self.root / self.config.settings_dir / FILE))
        except (NotFound, InvalidFile, InvalidName):
            return None

    def keep(self) -> None:
        """Write the copy, unless the one that stands there says the same (it may have a person's comments)."""
        kept = self.kept()
        try:
            if kept is not None and settle(kept) == self.config:
                return
        except InvalidFile:
            pass  # a copy that is not valid is replaced
        with folder.opened(self.root, self.config.settings_dir) as settings:
            point("config.keep")
            folder.write(settings, FILE, self.config.as_yaml().encode())

    def _compare(self, kept: Given) -> None:
        """Warn when the production was set up with another layout than this configuration says."""
        ours = self.config.as_dict()
        differ = [key for key in LAYOUT if kept.values.get(key, ours[key]) != ours[key]]
        if differ:
            self.warnings.append(
                f"the production at {self.root} was set up with other values of {', '.join(differ)}; yours are used"
            )


def _layout_of(kept: Given) -> Given:
    """What a mapping may leave out: the layout and metadata that the production was set up with."""
    return Given({key: value for key, value in kept.values.items() if key in (*LAYOUT, "metadata")}, kept.source)


def _copy_in(directory: Path) -> Given:
    """The configuration that a production's directory holds. Raises NotFound, InvalidFile."""
    with folder.opened(directory) as root:
        names = folder.directories(root)
    for name in sorted(names, key=lambda name: (name != "settings", name)):
        try:
            with folder.opened(directory, name) as settings:
                return parse(folder.read(settings, FILE), str(directory / name / FILE))
        except NotFound:
            continue
    raise NotFound(f"{directory} is no production: no directory in it holds {FILE}")
