"""Strict JSON text, encoded once: what the journal and the rows hold.

`JSONEncoder.encode` builds its C encoder anew at each call, which is two thirds of what a small fact costs. Here
it is built once. Interpreters without the C encoder take the plain road.
"""

from __future__ import annotations

import json
from json import encoder
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

_plain = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def _prebuilt(make: Any) -> Callable[[Any], str]:
    """An encoder that is made once; `make` is the C one, or None where there is none."""
    if make is None:
        return _plain.encode
    chunks = make(None, _plain.default, encoder.encode_basestring, None, ":", ",", False, False, False)
    return lambda value: "".join(chunks(value, 0))


#: `encode(value)`: compact JSON text. Raises ValueError for NaN and TypeError for what JSON cannot say.
encode = _prebuilt(encoder.c_make_encoder)  # type: ignore[attr-defined]

#: `quote(text)`: a text as JSON has it, for those who write the rest by hand.
quote: Callable[[str], str] = encoder.encode_basestring
