"""What the tests of pipeline files share: the seed's example word for word, and the way from a text to its fault."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from callboard.core.graph import Graph
from callboard.core.plan import dump, load
from callboard.errors import InvalidFile
from callboard.faces.pipelines.compile import compile
from callboard.faces.pipelines.language import parse

if TYPE_CHECKING:
    from callboard.core.plan import Plan
    from callboard.faces.pipelines.model import Pipeline

SEED = """\
name: "Analysis Pipeline"
description: "Analyzes input data"
# Production configuration
production:
  name: "profiles"
  project_home: "./project-home"
  production_dir: "productions"
pipe:
  - type: llm
    name: "analyzer"
    tmpl: |
      Analyze the following data:
      {{pipe.pipein-text}}
    model: "gemini-2.0-flash"
    # Output can reference production context
    output_file: "{{production.instance_dir}}/analysis/results.txt"
"""

FILES = {
    "instruction/summary.j2": "Summarize:\n{{pipe.pipein-text}}\n",
    "flows/instruction/near.j2": "near {{input}}",
    "flows/beside.txt": "beside",
    "instruction/bare": "found without a suffix",
    "instruction/broken.j2": "one\n{{ vars.nope }}\n",
    "flows/answer.json": '{"type": "object"}',
}

#: A file with one llm step, to which tests add lines.
STEP = "pipe:\n- type: llm\n  tmpl: x\n"


def pipeline(text: str | bytes, **more: Any) -> Pipeline:
    return parse(text, file="flows/a.ai", read=FILES.get, **more)


def plan(text: str, **more: Any) -> Plan:
    """The plan of a file, after it has been written down and read back as a store does."""
    made = compile(pipeline(text), **more)
    Graph(made)  # raises what the machine would not take
    again = load(dump(made))
    assert dump(again) == dump(made)
    return again


def inputs(text: str, step: int = 0) -> dict[str, Any]:
    return dict(plan(text).tasks[step].inputs)


def fault(text: str | bytes, **more: Any) -> InvalidFile:
    """The fault of a file. Each one names the file, a line, a column, and what to do."""
    with pytest.raises(InvalidFile) as caught:
        compile(pipeline(text, **more))
    error = caught.value
    assert error.file in {"flows/a.ai", *FILES} and error.line and error.column and error.fix, str(error)
    assert len(str(error)) < 2_000
    return error


def snapshot(made: Plan) -> dict[str, Any]:
    """A plan as plain JSON."""
    return dict(json.loads(dump(made)))
