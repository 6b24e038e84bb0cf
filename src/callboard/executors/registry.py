"""Functions by name: those a pipeline file calls (`register`) and plain ones that the façade hands over.

A registered function is called the pipeline's way, `(pipe_data, params)`; a plain one with keyword arguments. A
plain function is named `module:qualname@hash of its source`, so that another process can find it again and see
whether it is still the same; a lambda or a notebook's cell has no such name and is *local*.
"""

from __future__ import annotations

import difflib
import hashlib
import importlib
import importlib.util
import inspect
import os
import sys
import threading
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar, overload

from callboard.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

F = TypeVar("F", bound="Callable[..., Any]")


class Function(NamedTuple):
    """A function that can be called by name. `style` is "pipe" or "plain"."""

    name: str
    call: Callable[..., Any]
    style: str
    is_async: bool
    signature: inspect.Signature | None  # None when Python cannot tell it


class Registry:
    """Functions by name. One is shared by the process; tests and children may have their own."""

    def __init__(self) -> None:
        self._functions: dict[str, Function] = {}
        self._lock = threading.Lock()

    @overload
    def register(self, name: str) -> Callable[[F], F]: ...
    @overload
    def register(self, name: str, function: F) -> F: ...
    @overload
    def register(self, name: F) -> F: ...

    def register(self, name: Any, function: Any = None) -> Any:
        """`register("name", fn)`, `register(fn)`, `@register` or `@register("name")`; the function itself.

        Raises UsageError when another function has the name already.
        """
        if isinstance(name, str):
            if function is None:
                return lambda late: self.register(name, late)
            return self._put(function, name)
        return self._put(name, getattr(name, "__name__", type(name).__name__))

    def add(self, function: Callable[..., Any]) -> str:
        """Take a plain function; the name it is found by.

        Local functions may share all that makes a name (two lambdas of a line, two closures of one function), so
        further ones get a number in the order they came.
        """
        name = base = name_of(function)
        number = 1
        with self._lock:
            while is_local(function) and (had := self._functions.get(name)) and had.call is not function:
                number += 1
                name = f"{base}#{number}"
            self._functions[name] = _function(name, function, "plain")
        return name

    def find(self, name: str) -> Function | None:
        """By its name, hyphen and underscore alike."""
        return self._functions.get(name) or self._functions.get(name.replace("-", "_"))

    def names(self) -> list[str]:
        return sorted(self._functions)

    def missing(self, name: str) -> str:
        """Why `name` is not found, and which is close."""
        close = difflib.get_close_matches(name, self._functions, n=1)
        known = f"did you mean {close[0]!r}?" if close else f"there are: {', '.join(self.names()) or 'none'}"
        return f"no function is registered as {name!r}; {known}"

    def _put(self, function: Any, name: str) -> Any:
        if not callable(function):
            raise UsageError(f"register takes a function, not {type(function).__name__}")
        with self._lock:
            had = self._functions.get(name)
            if had is not None and _home(had.call) != _home(function):
                raise UsageError(f"two functions are called {name!r}: {_home(had.call)} and {_home(function)}")
            self._functions[name] = _function(name, function, "pipe")
        return function


#: The process's own: what `register` of the public modules puts functions into.
REGISTRY = Registry()
register = REGISTRY.register


def name_of(function: Callable[..., Any]) -> str:
    """`module:qualname@hash`, or `local:qualname@hash` for what another process cannot find."""
    module, qualname = _home(function).split(":", 1)
    where = "local" if is_local(function) else module
    return f"{where}:{qualname}@{source_hash(function)}"


def is_local(function: Callable[..., Any]) -> bool:
    """Whether no other process can find this function by module and name."""
    module, qualname = _home(function).split(":", 1)
    if "<" in qualname:
        return True
    if module == "__main__":
        return getattr(sys.modules.get("__main__"), "__file__", None) is None
    return module not in sys.modules


def source_hash(function: Callable[..., Any]) -> str:
    """Twelve hex digits of the function's source, of its code where there is no source."""
    plain = inspect.unwrap(function)
    try:
        text = inspect.getsource(plain)
    except (OSError, TypeError):
        code = getattr(plain, "__code__", None)
        text = f"{code.co_code!r}{code.co_names!r}{code.co_consts!r}" if code else _home(plain)
    return hashlib.sha256(text.encode(errors="replace")).hexdigest()[:12]


def home_file(function: Callable[..., Any]) -> str | None:
    """The file a function lives in, as people would name it."""
    try:
        return inspect.getsourcefile(inspect.unwrap(function))
    except TypeError:
        return None


def imported(name: str, root: str) -> Function | None:
    """The function behind `module:qualname@hash`, its module imported from below `root`; None when there is none.

    Modules from elsewhere are never imported by name: a plan would else be a way to call anything installed.
    Raises UsageError when its source is not the one the name was made from.
    """
    module, _, rest = name.partition(":")
    qualname, _, hash = rest.partition("@")
    if not hash or not _is_below(module, root):
        return None
    try:
        found: Any = importlib.import_module(module)
        for part in qualname.split("."):
            found = getattr(found, part)
    except (ImportError, AttributeError):
        return None
    if not callable(found) or source_hash(found) != hash:
        raise UsageError(f"{module}:{qualname} has changed since this run began; start a new run")
    return _function(name, found, "plain")


def _is_below(module: str, root: str) -> bool:
    """Whether a module's top-level package lies in `root`; finding it imports nothing."""
    top = module.partition(".")[0]
    if not top.isidentifier() or top in ("__main__", "local"):
        return False
    try:
        spec = importlib.util.find_spec(top)
    except (ImportError, ValueError):
        return False
    places = [spec.origin, *(spec.submodule_search_locations or ())] if spec else []
    return any(place and os.path.realpath(place).startswith(os.path.realpath(root) + os.sep) for place in places)


def _function(name: str, call: Callable[..., Any], style: str) -> Function:
    plain = inspect.unwrap(call)
    is_async = inspect.iscoroutinefunction(plain) or inspect.iscoroutinefunction(getattr(call, "__call__", None))  # noqa: B004
    try:
        signature = inspect.signature(call)
    except (TypeError, ValueError):
        signature = None
    return Function(name, call, style, is_async, signature)


def _home(function: Any) -> str:
    plain = inspect.unwrap(function)
    module = getattr(plain, "__module__", None) or "local"
    return f"{module}:{getattr(plain, '__qualname__', type(plain).__qualname__)}"
