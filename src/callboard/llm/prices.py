"""What tokens cost: a small table of well-known models, and the sum of one call.

Money is counted in integers of nano-USD per token, because sums of floats drift and a budget that drifts is no
budget: one dollar for a million tokens is 1,000 nano-USD for one. The table is a convenience: it was written down by
hand, nobody has compared it with the providers' lists since its date, and it will be wrong one day. What a user's own
file says stands above it, and a model in neither has no price, which is not the same as being free. Discounts for
cached or batched tokens are left out, so a sum errs upwards.
"""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, TypeAlias

from callboard.errors import InvalidFile, NotFound, NotJson
from callboard.text.strict import decode

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from callboard.ports import Usage

Price: TypeAlias = tuple[int, int]  # nano-USD per token of input, of output

#: What the providers were understood to charge in November 2025, in US dollars for the plain tier. These are from
#: memory of public lists, not fetched and not verified: the providers' own lists are what counts.
LISTED: Mapping[str, Price] = {
    "gpt-5": (1_250, 10_000),
    "gpt-5-mini": (250, 2_000),
    "gpt-5-nano": (50, 400),
    "gpt-5.1": (1_250, 10_000),
    "gpt-4.1": (2_000, 8_000),
    "gpt-4.1-mini": (400, 1_600),
    "gpt-4.1-nano": (100, 400),
    "gpt-4o": (2_500, 10_000),
    "gpt-4o-mini": (150, 600),
    "o3": (2_000, 8_000),
    "o3-mini": (1_100, 4_400),
    "o4-mini": (1_100, 4_400),
    "gemini-2.5-pro": (1_250, 10_000),
    "gemini-2.5-flash": (300, 2_500),
    "gemini-2.5-flash-lite": (100, 400),
    "gemini-2.0-flash": (100, 400),
    "gemini-2.0-flash-lite": (75, 300),
    "claude-opus-4-5": (5_000, 25_000),
    "claude-opus-4-1": (15_000, 75_000),
    "claude-opus-4": (15_000, 75_000),
    "claude-sonnet-4-5": (3_000, 15_000),
    "claude-sonnet-4": (3_000, 15_000),
    "claude-haiku-4-5": (1_000, 5_000),
    "claude-3-5-haiku": (800, 4_000),
}

#: Endings that name a release of a model and not another model: dates, `-latest`, `-001`.
_RELEASE = re.compile(r"-(?:latest|\d{3}|\d{8}|\d{4}-\d{2}-\d{2})$")


def read(file: Path) -> dict[str, Price]:
    """Prices of a user's own: a JSON object of model (or provider:model) → {"input", "output"}, in US dollars for a
    million tokens. Raises NotFound, InvalidFile."""
    try:
        said = decode(file.read_bytes())
    except OSError as error:
        raise NotFound(f"{file}: {error.strerror or error}. CALLBOARD_PRICES names a file of prices") from None
    except NotJson as error:
        raise InvalidFile(f"not JSON: {error}", file=str(file), fix=_FORM) from None
    if not isinstance(said, dict):
        raise InvalidFile("prices are an object of models", file=str(file), fix=_FORM)
    return {model: _price(file, model, price) for model, price in said.items()}


_FORM = 'write it as {"gpt-5": {"input": 1.25, "output": 10}}, in dollars for a million tokens'


def _price(file: Path, model: str, said: object) -> Price:
    if not isinstance(said, dict) or said.keys() != {"input", "output"}:
        raise InvalidFile(f"the price of {model!r:.80} is not input and output", file=str(file), fix=_FORM)
    return _nano(file, model, said["input"]), _nano(file, model, said["output"])


def _nano(file: Path, model: str, dollars: object) -> int:
    """Nano-USD for a token, of dollars for a million; a fraction is rounded up, so that a sum errs upwards."""
    if isinstance(dollars, bool) or not isinstance(dollars, (int, float)) or not 0 <= dollars <= 1e6:
        raise InvalidFile(
            f"the price of {model!r:.80} is no sum of dollars: {dollars!r:.40}", file=str(file), fix=_FORM
        )
    return math.ceil(round(dollars * 1000, 6))


def price_of(model: str, own: Mapping[str, Price]) -> Price | None:
    """The price of `model`: the user's own, else the listed one, also of the model that this is a release of."""
    short = _RELEASE.sub("", model)
    for table in (own, LISTED):
        for name in (model, short):
            if name in table:
                return table[name]
    return None


def cost(price: Price | None, usage: Usage) -> int | None:
    """What a call cost in nano-USD; None when no price is known."""
    return None if price is None else usage.input_tokens * price[0] + usage.output_tokens * price[1]
