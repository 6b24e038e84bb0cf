"""What people call: `ProductionManager`, `create_production`, `load_production`.

A manager knows one production. Making one reads and checks and creates nothing. Whatever it tells is looked up when
it is asked, so that any number of managers, processes and people with a file manager may work on one production.
The order of every change is: the disk first, then the index; what a crash leaves between the two, the next
`update_productions()` sees. Documents are written outside the index's lock, so that a large one holds nobody up.
"""

from __future__ import annotations

import re
import time
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from callboard.errors import Conflict, InvalidName, NotFound, Refused
from callboard.productions import contents, scan
from callboard.productions.names import folder_name
from callboard.productions.register import Register
from callboard.productions.sheet import COLUMNS, metadata_of, metadata_text
from callboard.productions.site import Site
from callboard.productions.table import table
from callboard.text.names import close, title

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from callboard.productions.contents import Content
    from callboard.productions.sheet import Row
    from callboard.productions.shelf import Document


class Instance(NamedTuple):
    """One instance: the seven columns of the index, `metadata` as a mapping, and `dir`, its absolute path."""

    instance_id: str
    name: str
    created_at: str
    updated_at: str
    status: str
    metadata: dict[str, Any]
    path: str
    dir: Path


class ProductionManager:
    """One production on disk.

    `config` is the path of a configuration file (or of a production's own directory), `config_dict` the same keys as
    a mapping; with both, the mapping's keys stand above the file's. With a mapping alone, what it leaves out is
    taken from the production that stands there already, if one does. Relative paths are seen from the directory
    that is the current one now. `clock` gives epoch seconds.

    Raises NotFound (a FileNotFoundError) naming a file that is missing, InvalidFile naming a key that is wrong.
    """

    def __init__(
        self,
        config: str | Path | None = None,
        *,
        config_dict: Mapping[str, Any] | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        site = Site(config, config_dict)
        for warning in site.warnings:
            warnings.warn(warning, stacklevel=2)
        self.config, self.warnings = site.config, site.warnings
        self.dir, self.project_home = site.root, site.home
        self.settings_dir = self.dir / self.config.settings_dir
        self._register = Register(site, clock)
        self._shelf, self.names = self._register.shelf, self._register.names

    def __repr__(self) -> str:
        return f"ProductionManager({self.config.name!r} in {str(self.dir)!r})"

    # ── the production ──────────────────────────────────────────────────────────────────────────────────

    def exists(self) -> bool:
        """Whether the production's directory stands."""
        return self._shelf.stands()

    def initialize_structure(self) -> Path:
        """Make what is missing: directories, index, a copy of the configuration. The production's path."""
        self._register.build()
        return self.dir

    def update_productions(self) -> dict[str, int]:
        """Bring the index up to date with the disk: how many rows were `added`, `updated` and found `missing`.

        A damaged index is kept under another name and built anew, with what can still be read of it.
        Raises NotFound when there is no production.
        """
        self.demand()
        return self._register.update()

    def demand(self) -> None:
        """Raises NotFound when the production's directory does not stand."""
        if not self.exists():
            raise NotFound(f"there is no production at {self.dir}; make it with create_production(…)")

    def variables(
        self,
        instance_id: str | int,
        *,
        step: str | None = None,
        document_type: str = "",
        planned: Mapping[str, Any] | None = None,
    ) -> dict[str, Any]:
        """What templates may say of one instance (A.10), as plain JSON.

        `dir`, `instance_dir` and `project_home` are absolute; `production_dir` and `settings_dir` are the names in
        the configuration; `metadata` is the production's, under the instance's own. `planned` is the metadata of one
        that is only reserved.
        """
        found = self.get_instance(instance_id) if planned is None else self._reserved(instance_id, planned)
        return {
            "name": self.config.name,
            "instance_id": found.instance_id,
            "instance_name": found.name,
            "instance_dir": str(found.dir),
            "project_home": str(self.project_home),
            "production_dir": self.config.production_dir,
            "dir": str(self.dir),
            "settings_dir": self.config.settings_dir,
            "step": self._step(step),
            "document_type": document_type,
            "metadata": {**self.config.metadata, **found.metadata},
        }

    def record(
        self, kind: str, data: Mapping[str, Any], *, instance_id: str | int | None = None, secrets: Iterable[str] = ()
    ) -> Path:
        """Keep a record of a run or an error as a JSON file in the settings' `diagnostics`; its path.

        `kind` is a word (`run`, `error`). What looks like a secret is masked, and so is every text in `secrets`.
        """
        if not re.fullmatch(r"[a-z][a-z0-9_]{0,30}", kind):
            raise InvalidName(f"{kind!r} is no kind of record; use a word like 'run' or 'error'")
        id = None if instance_id is None else self.names.pad(self._register.number(instance_id))
        self._shelf.build()
        return self._register.record(kind, id, data, tuple(secrets))

    # ── instances ───────────────────────────────────────────────────────────────────────────────────────

    def create_instance(
        self, metadata: Mapping[str, Any] | None = None, *, instance_id: str | int | None = None
    ) -> str:
        """Make an instance with a directory for each step; its id (`00001`). Sets up the production when needed.

        No id is given twice, whoever else makes instances at the same time, and whatever was deleted. `instance_id` is
        one that was reserved; then what is there already stays as it is.
        """
        cell = metadata_text(metadata or {})
        if not self._register.index.file.is_file():
            self.initialize_structure()
        if instance_id is not None:
            return self._register.make(self.names.number(instance_id), cell).instance_id
        return self._register.add(cell).instance_id

    def reserve_instance(self) -> str:
        """An id that nobody else will get, for an instance that is made later. Sets up the production when needed."""
        if not self._register.index.file.is_file():
            self.initialize_structure()
        return self.names.pad(self._register.reserve())

    def instances(self, *, status: str | None = None, include_missing: bool = False) -> list[Instance]:
        """The instances by id; those whose directory vanished only when asked for."""
        rows = sorted(self._register.rows().rows.values(), key=lambda row: (len(row.instance_id), row.instance_id))
        wants_missing = include_missing or status == scan.MISSING
        return [
            self._instance(row)
            for row in rows
            if status in (None, row.status) and (wants_missing or row.status != scan.MISSING)
        ]

    def list_instances(self, *, status: str | None = None, include_missing: bool = False) -> Any:
        """The same as a table with the columns of the index: a pandas DataFrame when pandas is installed."""
        return table(COLUMNS, (found[:7] for found in self.instances(status=status, include_missing=include_missing)))

    def get_instance(self, instance_id: str | int) -> Instance:
        """One instance, by id (`00001`, 1, `1`) or name. Raises NotFound, InvalidName."""
        return self._instance(self._register.known(self._register.rows(), self._register.number(instance_id)))

    def set_status(self, instance_id: str | int, status: str) -> Instance:
        """`created`, `active`, `completed`, `failed`, `paused`, `archived`, or a word of your own."""
        status = title(status, "status").strip()
        return self._instance(self._register.change(self._register.number(instance_id), status=status))

    def set_metadata(self, instance_id: str | int, metadata: Mapping[str, Any]) -> Instance:
        """Put other metadata in place of what there is."""
        cell = metadata_text(metadata)
        return self._instance(self._register.change(self._register.number(instance_id), metadata=cell))

    def archive_instance(self, instance_id: str | int) -> Instance:
        """Leave an instance where it is and take no more documents into it, until it gets another status."""
        return self.set_status(instance_id, scan.ARCHIVED)

    def rename_instance(self, instance_id: str | int, name: str) -> Instance:
        """Give the directory of an instance another name; the id, and the names of its documents, stay.

        Raises Conflict when the name is taken, InvalidName when it is unsafe or means another instance.
        """
        number, name = self._register.number(instance_id), folder_name(name, "name of an instance")
        if name.casefold() == self.config.settings_dir.casefold() or self.names.number_of(name) not in (None, number):
            raise InvalidName(f"{name!r} is the settings directory or the name of another instance")
        return self._instance(self._register.rename(number, name))

    def delete_instance(self, instance_id: str | int) -> None:
        """Remove an instance with all its documents. Its id is never given again. Raises NotFound."""
        self.demand()
        self._register.remove(self._register.number(instance_id))

    # ── documents ───────────────────────────────────────────────────────────────────────────────────────

    def save_document(
        self,
        instance_id: str | int,
        document_type: str,
        content: Content,
        suffix: str | None = None,
        step: str | None = None,
        *,
        overwrite: bool = True,
    ) -> Path:
        """Write a document, whole or not at all; its absolute path. The instance becomes `active`.

        `content`: text (UTF-8), bytes as they are, or a dict or list (suffix `json`, `yml` or `yaml`). `suffix` is
        `txt` when it is left out (`json` for data), `step` the last one. Raises NotFound for an unknown instance,
        InvalidName for an unknown step or an unsafe name, Conflict when it exists and `overwrite` is False, Refused
        when the instance is archived.
        """
        number, step = self._register.number(instance_id), self._step(step)
        suffix = contents.suffix_for(content) if suffix is None else self.names.suffix(suffix)
        file, data = self.names.document(number, document_type, suffix), contents.encode(content, suffix)
        row = self._register.standing(self._register.rows(), number)
        if row.status == scan.ARCHIVED:
            raise Refused(f"instance {row.instance_id} is archived; give it another status first")
        path = self._shelf.write(row.name, step, file, data, replace=overwrite)
        self._register.change(number, status=scan.ACTIVE)
        return path

    def find_documents(
        self,
        document_type: str | None = None,
        *,
        instance_id: str | int | None = None,
        step: str | None = None,
        suffix: str | None = None,
    ) -> list[Document]:
        """The documents that match all that is given, by id, then step in configured order, then name."""
        steps = self.config.steps if step is None else (self._step(step),)
        kind = None if document_type is None else self.names.kind(document_type)
        suffix = None if suffix is None else self.names.suffix(suffix)
        return [
            found
            for number, name in self._places(instance_id)
            for found in self._shelf.documents(number, name, steps)
            if kind in (None, found.document_type) and suffix in (None, found.suffix)
        ]

    def load_document(
        self,
        instance_id: str | int,
        document_type: str,
        *,
        step: str | None = None,
        suffix: str | None = None,
        raw: bool = False,
    ) -> Any:
        """What one document holds: text; data for `json`, `yml`, `yaml`; bytes when it is no text or `raw` is true.

        Raises NotFound, Conflict when several match (name the step or suffix), InvalidFile when data is broken.
        """
        found = self.find_documents(document_type, instance_id=instance_id, step=step, suffix=suffix)
        if not found:
            raise NotFound(f"instance {instance_id} of {self.config.name!r} has no document of type {document_type!r}")
        if len(found) > 1:
            listed = ", ".join(f"{one.step}/{one.name}" for one in found)
            raise Conflict(f"several documents match: {listed}; name the step or the suffix")
        data = self._shelf.read(found[0])
        return data if raw else contents.decode(data, found[0].suffix, file=str(found[0].path))

    # ── inside ──────────────────────────────────────────────────────────────────────────────────────────

    def _reserved(self, instance_id: str | int, metadata: Mapping[str, Any]) -> Instance:
        number = self.names.number(instance_id)
        name, now = self.names.instance(number), self._register.now()
        row = (self.names.pad(number), name, now, now, scan.CREATED)
        return Instance(*row, dict(metadata), self._register.path(name), self.dir / name)

    def _step(self, step: str | None) -> str:
        if step is None:
            return self.config.steps[-1]
        if step not in self.config.steps:
            listed = ", ".join(self.config.steps)
            raise InvalidName(f"{ascii(step)[:80]} is no step of {self.config.name!r}; its steps are {listed}"
                              f"{close(step, self.config.steps)}")  # fmt: skip
        return step

    def _places(self, instance_id: str | int | None) -> list[tuple[int, str]]:
        """The directories to look into, by number; none for an instance that is not there."""
        if instance_id is None:
            return sorted(self._shelf.instances().items())
        number = self._register.number(instance_id)
        name = self._shelf.find(number)
        return [] if name is None else [(number, name)]

    def _instance(self, row: Row) -> Instance:
        return Instance(*row[:5], metadata_of(row.metadata), row.path, self.dir / row.name)


def create_production(config: str | Path | Mapping[str, Any] | ProductionManager) -> ProductionManager:
    """The production that a configuration (file, mapping or manager) describes, made when it is not there yet."""
    production = _manager(config)
    production.initialize_structure()
    return production


def load_production(config: str | Path | Mapping[str, Any] | ProductionManager) -> ProductionManager:
    """The production that a configuration describes, or that stands in a directory. Raises NotFound."""
    production = _manager(config)
    production.demand()
    return production


def _manager(config: str | Path | Mapping[str, Any] | ProductionManager) -> ProductionManager:
    if isinstance(config, ProductionManager):
        return config
    return ProductionManager(config) if isinstance(config, str | Path) else ProductionManager(config_dict=config)
