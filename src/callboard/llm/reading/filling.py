"""JSON from a text: each field of a schema filled with what the text has for it, by its name and description.

The name of a field says what it wants, its description says more, and its rules say what it may be. What the text
does not have is null or left out where that is allowed; where it is not, the emptiest value that the rules let
through is taken. So the result always has the right form, and its contents stand in the text or are labels, counts
and judgements about it.

A schema can be built so that no simple way of filling it is right (`not`, `if`, `oneOf`). So several ways are tried,
and a real validator decides which of them is an answer.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from callboard.errors import InvalidOutput
from callboard.llm.reading import found
from callboard.llm.reading.fields import BLANKS, FOUND, kinds, said, size
from callboard.llm.reading.knowledge import Knowledge
from callboard.llm.reading.ranking import Size
from callboard.llm.reading.shapes import DEEPEST, STRATEGIES, Strategy, flatten, has_dead_end, is_nullable, kind_of
from callboard.llm.reading.values import another, bounded, bounds_of, stretched, unique
from callboard.llm.reading.writing import cut
from callboard.text.schema import check, validate

if TYPE_CHECKING:
    from collections.abc import Iterator

_MANY = 40  # items of a list at most, when the schema does not ask for more
_MOST_VALUES = 5_000  # values of one answer: a schema may ask for lists of lists without end
_ISO = re.compile(r"\d{4}-\d\d-\d\d")


class Impossible(ValueError):
    """No value for this schema was found; the message says what the validator said last."""


class _Endless(Exception):
    """This way through the schema has no end, or none that is allowed."""


def fill(schema: Any, text: str) -> Any:
    """A value that satisfies `schema`, filled from `text`. Raises Impossible; UsageError when it is no schema."""
    check(schema)
    known = Knowledge(text)
    wrong = "it nests without end, or nothing satisfies it"
    for strategy in STRATEGIES:
        try:
            value = _Filler(known, schema, strategy).fill(schema, "", 0)
        except (_Endless, RecursionError):
            continue
        try:
            validate(value, schema)
        except InvalidOutput as error:
            wrong = str(error)
        else:
            return value
    raise Impossible(wrong)


class _Filler:
    """One way through one schema."""

    def __init__(self, known: Knowledge, root: Any, strategy: Strategy, values: int = 0) -> None:
        self._known, self._root, self._strategy, self._values = known, root, strategy, values

    def fill(self, schema: Any, name: str, depth: int) -> Any:
        self._values += 1
        flat = self._flat(schema, depth)
        if self._values > _MOST_VALUES or depth > 4 * DEEPEST or has_dead_end(flat):
            raise _Endless
        if "const" in flat:
            return flat["const"]
        if isinstance(flat.get("enum"), list):
            return self._of_enum(flat, name)
        kind = kind_of(flat, self._strategy)
        if kind == "object":
            return self._object(flat, depth)
        if kind == "array":
            return self._array(flat, name, depth)
        if kind in ("number", "integer"):
            return self._number(flat, name, kind == "integer")
        if kind == "boolean":
            return bool(self._strategy.branch % 2) if self._strategy.branch else self._known.is_so(name)
        return None if kind == "null" else self._string(flat, name)

    def _flat(self, schema: Any, depth: int) -> dict[str, Any]:
        return flatten(schema, self._root, self._strategy, depth)

    # ── objects ─────────────────────────────────────────────────────────────────────────────────────────

    def _object(self, flat: dict[str, Any], depth: int) -> dict[str, Any]:
        named = flat.get("properties")
        known: dict[str, Any] = named if isinstance(named, dict) else {}
        required = list(dict.fromkeys(one for one in flat.get("required", ()) if isinstance(one, str)))
        others = flat.get("additionalProperties", {})
        takes_all = self._strategy.optional and depth < DEEPEST
        value: dict[str, Any] = {}
        for key in dict.fromkeys([*known, *required]) if takes_all else required:
            rule = known.get(key, others)
            if key in required:
                value[key] = self.fill(rule, key, depth + 1)
            else:
                self._try(value, key, rule, depth)
        for key in (*known, *(f"note{n}" for n in range(1, 40))):
            if len(value) >= flat.get("minProperties", 0):
                break
            self._try(value, key, known.get(key, others), depth)
        return _within(self._with_dependents(value, flat, known, depth), required, flat.get("maxProperties"))

    def _with_dependents(
        self, value: dict[str, Any], flat: dict[str, Any], known: dict[str, Any], depth: int
    ) -> dict[str, Any]:
        """The object with what its present properties require to be there too."""
        needs, others = flat.get("dependentRequired"), flat.get("additionalProperties", {})
        for key, names in needs.items() if isinstance(needs, dict) else ():
            for other in names if key in value else ():
                if other not in value:
                    value[other] = self.fill(known.get(other, others), other, depth + 1)
        return value

    def _try(self, value: dict[str, Any], key: str, rule: Any, depth: int) -> None:
        """Fill an optional property, or leave it out when there is no way to."""
        if key not in value:
            try:
                value[key] = self.fill(rule, key, depth + 1)
            except _Endless:
                return

    # ── lists ───────────────────────────────────────────────────────────────────────────────────────────

    def _array(self, flat: dict[str, Any], name: str, depth: int) -> list[Any]:
        first, rule = flat.get("prefixItems", []), flat.get("items", {})
        least, most = flat.get("minItems", 0), flat.get("maxItems")
        most = max(least, _MANY) if most is None else most
        value = [self.fill(one, name, depth + 1) for one in first[:most]]
        if "contains" in flat:
            value.extend(self.fill(flat["contains"], name, depth + 1) for _ in range(flat.get("minContains", 1)))
        if rule is not False and depth <= DEEPEST:
            room = min(most, max(least, _usual(flat, name))) - len(value)
            value.extend(self._items(rule, name, max(0, room), depth))
        no_doubles = flat.get("uniqueItems") is True
        return self._long_enough(unique(value) if no_doubles else value, rule, name, least, no_doubles, depth)[:most]

    def _items(self, rule: Any, name: str, room: int, depth: int) -> Iterator[Any]:
        """Items the text has for a list of this name."""
        flat = self._flat(rule, depth)
        kind = kind_of(flat, self._strategy)
        if has_dead_end(flat) or not room:
            return
        if isinstance(flat.get("enum"), list):
            texts = [one for one in flat["enum"] if isinstance(one, str)]
            yield from self._known.best_labels(texts)[: min(room, 3)] if texts else flat["enum"][:1]
        elif "const" in flat:
            yield flat["const"]
        elif kind == "string":
            for text in self._known.texts(name, said(flat), room, size(flat)):
                fitted = self._fitted(text, flat)
                if fitted is not None:
                    yield fitted
        elif kind in ("number", "integer"):
            yield from (bounded(one, bounds_of(flat, kind == "integer")) for one in self._known.numbers()[:room])
        elif kind == "object":
            yield from self._objects(flat, name, room, depth)
        elif kind != "null":
            yield self.fill(rule, name, depth + 1)

    def _objects(self, flat: dict[str, Any], name: str, room: int, depth: int) -> Iterator[Any]:
        """An object for each of the sentences that say most, filled from that sentence alone."""
        for sentence in self._known.points(room):
            inner = _Filler(Knowledge(sentence), self._root, self._strategy, self._values)
            yield inner.fill(flat, name, depth + 1)
            self._values = inner._values

    def _long_enough(
        self, value: list[Any], rule: Any, name: str, least: int, no_doubles: bool, depth: int
    ) -> list[Any]:
        tries = 0
        while len(value) < least:
            tries += 1
            if tries > 3 * least + 30:
                raise _Endless
            one = self.fill(rule, name, depth + 1)
            value.append(self._varied(one, rule, tries, depth) if no_doubles else one)
            value = unique(value) if no_doubles else value
        return value

    def _varied(self, value: Any, rule: Any, n: int, depth: int) -> Any:
        """Another value of the same kind: the n-th after this one."""
        flat = self._flat(rule, depth)
        if isinstance(flat.get("enum"), list):
            return flat["enum"][n % len(flat["enum"])]
        if isinstance(value, bool):
            return bool(n % 2)
        if isinstance(value, int | float):
            return another(bounds_of(flat, kind_of(flat, self._strategy) == "integer"), value, n)
        if isinstance(value, str):
            most = flat.get("maxLength", 10**9)
            return value[: max(0, most - len(str(n)))] + str(n)
        if isinstance(value, list):
            inner = [self._varied(one, flat.get("items", {}), n, depth + 1) for one in value]
            return inner or [self.fill(flat.get("items", {}), "", depth + 1)] * n
        if isinstance(value, dict):
            named = flat.get("properties", {})
            return {key: self._varied(one, named.get(key, {}), n, depth + 1) for key, one in value.items()}
        return value

    # ── plain values ────────────────────────────────────────────────────────────────────────────────────

    def _of_enum(self, flat: dict[str, Any], name: str) -> Any:
        values = flat["enum"]
        if not values:
            raise _Endless
        texts = [one for one in values if isinstance(one, str)]
        if texts:
            return self._known.best_labels(texts)[self._strategy.branch % len(texts)]
        numbers = sorted(one for one in values if isinstance(one, int | float) and not isinstance(one, bool))
        if numbers and kinds(name, said(flat)) & {"rating", "score"}:
            return numbers[round((self._known.mood + 1) / 2 * (len(numbers) - 1))]
        return values[self._strategy.branch % len(values)]

    def _number(self, flat: dict[str, Any], name: str, whole: bool) -> int | float:
        low, high = flat.get("minimum", 0), flat.get("maximum", 5 if whole else 1)
        return bounded(self._known.measure(name, said(flat), low, high), bounds_of(flat, whole))

    def _string(self, flat: dict[str, Any], name: str) -> str | None:
        for text in self._known.texts(name, said(flat), 1, size(flat)):
            fitted = self._fitted(text, flat)
            if fitted is not None:
                return fitted
        if is_nullable(flat):
            return None
        # The text has nothing and something must be there: the emptiest value of the format.
        blank = self._fitted(BLANKS.get(str(flat.get("format")), "unknown"), flat)
        return "-" * flat.get("minLength", 0) if blank is None else blank

    def _fitted(self, text: str, flat: dict[str, Any]) -> str | None:
        """`text` as the rules of a field want it, or None when it cannot be."""
        if flat.get("format") == "date":
            text = found.iso(text) or (text if _ISO.fullmatch(text) else "")
        elif flat.get("format") == "date-time" and found.iso(text):
            text = f"{found.iso(text)}T00:00:00Z"
        most: int | None = flat.get("maxLength")
        least: int = flat.get("minLength", 0)
        if most is not None and len(text) > most:
            text = cut(text, Size(characters=most))
        if text and len(text) < least:
            text = stretched(text, self._known.beginning(least), least, most)
        return None if not text or len(text) < least else text


def _usual(flat: dict[str, Any], name: str) -> int:
    """How many items a list of this name usually has, unless its description says a number."""
    number = re.search(r"\b([1-9]\d?)\b", said(flat))
    if number:
        return int(number[1])
    wanted = kinds(name, said(flat))
    return 6 if "terms" in wanted else _MANY if wanted & FOUND.keys() else 3


def _within(value: dict[str, Any], required: list[str], most: Any) -> dict[str, Any]:
    """Without the last optional properties, when there are more than may be."""
    if not isinstance(most, int) or len(value) <= most:
        return value
    kept = {key: value[key] for key in required if key in value}
    for key in value:
        if len(kept) < most:
            kept.setdefault(key, value[key])
    return {key: value[key] for key in value if key in kept}
