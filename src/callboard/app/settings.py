"""Settings: what the environment and the command line say, read once and handed on as a value.

Nothing is read from the current directory here: no `.env`, no file that a stranger's project could bring along.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from callboard.engine.owner import LEASE
from callboard.errors import UsageError
from callboard.ports import Bounds

if TYPE_CHECKING:
    from collections.abc import Mapping

#: Environment variables that hold keys of model providers; the only ones handed to the model gateway.
KEYS = (
    "OPENAI_API_KEY",
    "ANTHROPIC_API_KEY",
    "GEMINI_API_KEY",
    "GOOGLE_API_KEY",
    "OLLAMA_API_KEY",
    "CALLBOARD_API_KEY",
)
#: Variables a template may read as `env.NAME`, beside those that begin with CALLBOARD_VAR_.
SHOWN = ("LANG", "USER", "TZ")

#: What begins a variable whose value is granted, under the rest of its name, to commands that ask for it.
SECRET = "CALLBOARD_SECRET_"


class Settings(NamedTuple):
    """`model` overrides the model of every step; `offline_*` belong to the offline model.

    `base_url` is the user's own server, `openai_url` another address of OpenAI's; `keys` are values by name, `shown`
    what templates may read as `env`, `granted` what commands may ask for as `secrets`; `prices` is the path of a file
    of the user's own prices; `lease` is how long an owner that is elsewhere, or that is stopped, is believed, in
    seconds; `bounds` is how much may wait before more is refused.
    """

    project: str | None = None
    model: str | None = None
    base_url: str | None = None
    openai_url: str | None = None
    offline_latency: float = 0.0
    offline_ledger: str | None = None
    keys: Mapping[str, str] = {}
    shown: Mapping[str, str] = {}
    debug: bool = False
    granted: Mapping[str, str] = {}
    prices: str | None = None
    lease: float = LEASE
    bounds: Bounds = Bounds()

    @property
    def secrets(self) -> Mapping[str, str]:
        """What steps may be given when they ask by name: what the user has granted, and keys of providers."""
        return {**self.keys, **self.granted}


def from_environment(environ: Mapping[str, str], *, project: str | None = None, model: str | None = None) -> Settings:
    """The settings of this process; what is given beats what the environment says. Raises UsageError."""
    return Settings(
        project=project or environ.get("CALLBOARD_PROJECT") or None,
        model=model or environ.get("CALLBOARD_MODEL") or None,
        base_url=environ.get("CALLBOARD_BASE_URL") or None,
        openai_url=environ.get("OPENAI_BASE_URL") or None,
        offline_latency=_seconds(environ, "CALLBOARD_OFFLINE_LATENCY"),
        offline_ledger=environ.get("CALLBOARD_OFFLINE_LEDGER") or None,
        keys={name: environ[name] for name in KEYS if environ.get(name)},
        shown={name: value for name, value in environ.items() if name in SHOWN or name.startswith("CALLBOARD_VAR_")},
        granted={
            name.removeprefix(SECRET): value for name, value in environ.items() if name.startswith(SECRET) and value
        },
        prices=environ.get("CALLBOARD_PRICES") or None,
        debug=bool(environ.get("CALLBOARD_DEBUG")),
        lease=_seconds(environ, "CALLBOARD_LEASE") or LEASE,
        bounds=Bounds(
            runs=_count(environ, "CALLBOARD_MOST_RUNS", Bounds().runs),
            letters=_count(environ, "CALLBOARD_MOST_RUN_LETTERS", Bounds().letters),
            all_letters=_count(environ, "CALLBOARD_MOST_LETTERS", Bounds().all_letters),
        ),
    )


def _count(environ: Mapping[str, str], name: str, default: int) -> int:
    text = environ.get(name)
    if not text:
        return default
    if not (text.isascii() and text.isdigit() and int(text[:9])):
        raise UsageError(f"{name}={text!r} is no number from 1 up")
    return int(text)


def _seconds(environ: Mapping[str, str], name: str) -> float:
    text = environ.get(name)
    if not text:
        return 0.0
    try:
        return max(0.0, float(text))
    except ValueError:
        raise UsageError(f"{name}={text!r} is no number of seconds") from None
