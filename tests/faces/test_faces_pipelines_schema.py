"""The JSON Schema for editors says what the reader says."""

from __future__ import annotations

from typing import Any

import jsonschema
import pytest
from faces_pipelines import SEED, STEP, pipeline
from hypothesis import given
from test_faces_pipelines_language import A_FILE

from callboard.errors import InvalidFile
from callboard.faces.pipelines.keys import FILE, PRODUCTION, TYPES, known
from callboard.faces.pipelines.keys import STEP as STEP_KEYS
from callboard.faces.pipelines.kinds import KINDS
from callboard.faces.pipelines.schema import schema
from callboard.text.document import load

SCHEMA = schema()
CHECK = jsonschema.Draft202012Validator(SCHEMA)


def test_it_is_a_schema() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)


def test_it_knows_every_key_in_both_spellings_and_no_other() -> None:
    for keys, place in (
        (FILE, SCHEMA),
        (STEP_KEYS, SCHEMA["$defs"]["step"]),
        (PRODUCTION, SCHEMA["properties"]["production"]),
    ):
        spellings = {spelling for key in keys for spelling in (key.name, key.name.replace("_", "-"))}
        assert set(place["properties"]) == spellings and place["additionalProperties"] is False
        assert all(place["properties"][spelling]["description"] for spelling in spellings)


def test_every_kind_of_the_table_is_read_and_described() -> None:
    structure = {"pipe", "production", "defaults"}
    assert {key.kind for key in (*FILE, *STEP_KEYS, *PRODUCTION)} - structure == set(KINDS)


def test_each_type_of_step_forbids_what_it_does_not_know() -> None:
    for type, rule in zip(TYPES, SCHEMA["$defs"]["step"]["allOf"], strict=True):
        assert rule["if"]["properties"]["type"] == {"const": type}
        strange = {key.name for key in STEP_KEYS} - set(known(type))
        assert {name.replace("-", "_") for name in rule["then"]["properties"]} == strange


@pytest.mark.parametrize(
    "text", [SEED, STEP, STEP + "  each: {glob: a}\n  retry: {tries: 2}\n  timeout: 5m\n  review: true\n"]
)
def test_a_good_file_fits(text: str) -> None:
    CHECK.validate(load(text).value)


@pytest.mark.parametrize(
    "line", ["modle: x", "command: [a]", "temperature: 9", "cache: yes", "retry: {tires: 2}", "timeout: 1h30m"]
)
def test_a_slip_is_underlined(line: str) -> None:
    assert not CHECK.is_valid(load(STEP + f"  {line}\n").value)


@given(A_FILE)
def test_what_the_reader_takes_the_schema_takes(value: dict[str, Any]) -> None:
    import json

    text = json.dumps(value)
    try:
        pipeline(text)
    except InvalidFile:
        return
    CHECK.validate(load(text).value)
