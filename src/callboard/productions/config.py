"""What a production is called and how it is laid out: read, checked, defaults filled in.

The layout comes from a file, from a mapping, or from both (then the mapping's keys stand above the file's). A file
may be a stranger's: every value that becomes a path is one safe component, the patterns have fixed tokens, and a
fault names the key, its place and the way to mend it. An unknown key is a warning and no error, because metadata
of other tools lives in such files, with the key that was probably meant.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from callboard.errors import InvalidFile, InvalidName, NotFound, NotJson, UsageError
from callboard.productions.names import Names, document_pattern, folder_name, instance_pattern
from callboard.productions.yamltext import emit
from callboard.text import document, strict
from callboard.text.names import close

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

KEYS = (
    "name", "project_home", "production_dir", "id_format", "document_pattern", "settings_dir", "steps", "metadata",
)  # fmt: skip
LAYOUT = KEYS[3:7]  # what decides where things lie inside the production
ALIASES = {"home": "project_home"}
FILE = "production_config.yml"


@dataclass(frozen=True, slots=True)
class ProductionConfig:
    """The eight keys of a production. `settle` makes it and has checked that they are valid together."""

    name: str
    project_home: str = "./project-home"
    production_dir: str = "productions"
    id_format: str = "{name}_{id:05d}"
    document_pattern: str = "document_{id}_{type}.{suffix}"
    settings_dir: str = "settings"
    steps: tuple[str, ...] = ("input", "process", "output")
    metadata: dict[str, Any] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """The eight keys in the order of the manual, as plain JSON."""
        values: dict[str, Any] = {key: getattr(self, key) for key in KEYS}
        return values | {"steps": list(self.steps), "metadata": dict(self.metadata)}

    def as_yaml(self) -> str:
        """The text of a configuration file that says the same."""
        return emit(self.as_dict())

    def names(self) -> Names:
        return Names(self.name, self.id_format, self.document_pattern)


class Given:
    """What one source says: its values, and where each of them stands."""

    def __init__(self, values: Mapping[str, Any], source: document.Document | None = None) -> None:
        self.source = source
        self.warnings: list[str] = []
        self.values: dict[str, Any] = {}
        self._as_written: dict[str, str] = {}
        for key, value in values.items():
            self._take(key, value)

    def _take(self, key: str, value: Any) -> None:
        known = ALIASES.get(key, key)
        if known not in KEYS:
            self.warnings.append(f"{self._place(key)}unknown key {key!r} in a production's configuration"
                                 f"{close(str(key), KEYS)}")  # fmt: skip
        elif known in self.values and self.values[known] != value:
            raise self.fault(known, f"{key!r} and {self._as_written[known]!r} mean the same and differ", "keep one")
        elif value is not None:
            self.values[known], self._as_written[known] = value, key

    def _place(self, key: str) -> str:
        if self.source is None:
            return ""
        place = self.source.key_place((key,))
        return f"{self.source.file}:{place.line}:{place.column}: "

    def fault(self, key: str, what: str, fix: str = "") -> UsageError:
        """The error about the value of a key: with its place when it stands in a file."""
        if self.source is not None:
            return self.source.fault(what, (self._as_written.get(key, key),), fix=fix)
        return InvalidFile(what, fix=fix)


def read(file: str | Path) -> Given:
    """What a configuration file says. Raises NotFound naming the path, InvalidFile."""
    try:
        raw = Path(file).read_bytes()
    except (FileNotFoundError, NotADirectoryError) as error:
        raise NotFound(f"there is no production configuration {file}") from error
    except IsADirectoryError as error:
        raise InvalidFile(f"{file} is a directory, not a production configuration") from error
    return parse(raw, str(file))


def parse(raw: bytes, file: str) -> Given:
    """What the bytes of a configuration file say. Raises InvalidFile."""
    source = document.load(raw, file=file)
    if not isinstance(source.value, dict):
        raise source.fault("a production's configuration is a mapping", fix='begin with a line like name: "profiles"')
    return Given(source.value, source)


def settle(*sources: Given) -> ProductionConfig:
    """One configuration from several sources, the later above the earlier, defaults below all."""
    said = {key: given for given in sources for key in given.values}
    last = sources[-1]
    name = said.get("name", last)
    if "name" not in name.values or name.values["name"] == "":
        raise name.fault("name", "a production needs the key 'name'", 'add a line like name: "profiles"')
    values = {key: _checked(key, given) for key, given in said.items()}
    config = ProductionConfig(**values)
    _check_together(config, said)
    return config


def _checked(key: str, given: Given) -> Any:
    value = given.values[key]
    try:
        return _CHECKS[key](value, key)
    except (InvalidName, NotJson) as error:
        raise given.fault(key, f"{key}: {error}") from error
    except UsageError as error:
        raise given.fault(key, str(error), _FIXES.get(key, "quote the value")) from error


def _text(value: Any, key: str) -> str:
    if not isinstance(value, str):
        raise UsageError(f"{key!r} must be text, not {value!r:.60}")
    return value


def _home(value: Any, key: str) -> str:
    text = str(value) if isinstance(value, Path) else _text(value, key)
    if not text.strip() or not text.isprintable() or len(text.encode("utf-8", "surrogateescape")) > 4096:
        raise InvalidName("a directory must be named, without control characters and in at most 4,096 bytes")
    return text


def _component(value: Any, key: str) -> str:
    return folder_name(_text(value, key), key)


def _steps(value: Any, key: str) -> tuple[str, ...]:
    if not isinstance(value, list | tuple) or not value or not all(isinstance(step, str) for step in value):
        raise UsageError("'steps' must be a list of at least one name")
    steps = tuple(folder_name(step, "step") for step in value)
    if len({step.casefold() for step in steps}) < len(steps):
        raise InvalidName("the steps must differ by more than upper and lower case")
    return steps


def _metadata(value: Any, key: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise UsageError("'metadata' must be a mapping")
    strict.check(value)
    return dict(value)


_CHECKS: dict[str, Callable[[Any, str], Any]] = {
    "name": _component,
    "project_home": _home,
    "production_dir": _component,
    "id_format": _text,
    "document_pattern": _text,
    "settings_dir": _component,
    "steps": _steps,
    "metadata": _metadata,
}
_FIXES = {"steps": "steps: [input, process, output]", "metadata": 'metadata: {owner: "…"}'}


def _check_together(config: ProductionConfig, said: Mapping[str, Given]) -> None:
    """The patterns make safe names with this production's own name, and none that is taken."""
    for key, make in (("id_format", instance_pattern), ("document_pattern", document_pattern)):
        try:
            make(config.name, getattr(config, key))
        except InvalidName as error:
            raise said.get(key, said["name"]).fault(key, str(error)) from error
    if config.names().number_of(config.settings_dir) is not None:
        what = f"settings_dir {config.settings_dir!r} could be the name of an instance ({config.id_format})"
        raise said.get("settings_dir", said["name"]).fault("settings_dir", what, "choose another settings_dir")
