"""The words of a pipeline file: every key, what it takes, which steps know it. One table, and all else reads it.

The reader checks a file by it, the JSON Schema for editors is made from it, and unknown keys are answered with
the closest one in it. A hyphen and an underscore are the same in every key.
"""

from __future__ import annotations

from typing import NamedTuple

TYPES = ("llm", "function", "command", "human")

#: Functions that come with Callboard: (parameters that must be there, parameters that may).
FUNCTIONS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "aisource": (("file",), ("dir", "content")),
    "airesult": (("file",), ("dir",)),
    "content": ((), ("format", "extract")),
    "convert_to_docx": (("source", "result"), ()),
}


class Key(NamedTuple):
    """`kind` names what it takes (see `kinds.py`), `types` the steps that know it (empty: all of them)."""

    name: str
    kind: str
    help: str
    types: tuple[str, ...] = ()
    is_required: bool = False


FILE = (
    Key("name", "title", "What people call this pipeline; by default the file's name."),
    Key("description", "text", "What it is for."),
    Key("version", "text", "The version of this file, for people."),
    Key("model", "text", "The model of every llm step that names none."),
    Key("vars", "data", "Values for templates: {{vars.language}}."),
    Key("defaults", "defaults", "Keys given to every step that knows them and does not set them itself."),
    Key("limits", "capacities", "How many steps or items may run at once, by name; `run` counts all of them."),
    Key("on_failure", "on_failure", "What a failed step does to the others: continue (default) or stop."),
    Key("production", "production", "The production whose instance this pipeline works in."),
    Key("pipe", "pipe", "The steps, in order. Each receives what the one before it gave.", is_required=True),
)

PRODUCTION = (
    Key("name", "title", "The production's name, and that of its directory.", is_required=True),
    Key("project_home", "text", "Base directory; ./project-home by default."),
    Key("home", "text", "Another word for project_home."),
    Key("production_dir", "text", "Directory that holds all productions."),
    Key("id_format", "text", "Name of an instance's directory: {name}_{id:05d}."),
    Key("document_pattern", "text", "Name of a document: document_{id}_{type}.{suffix}."),
    Key("settings_dir", "text", "Directory of the production's own records."),
    Key("steps", "texts", "Directories of an instance, in order."),
    Key("metadata", "data", "Free description."),
)

STEP = (
    Key("type", "type", "What carries the step out.", is_required=True),
    Key("name", "step_name", "Its name, unique in the file; step1, step2 … by default."),
    Key("description", "text", "What it is for."),
    # llm
    Key("tmpl", "source", "The prompt: text, or the name of a template file ending in .j2.", ("llm",), True),
    Key("system", "source", "The system prompt: text, or the name of a template file.", ("llm",)),
    Key("model", "text", "The model: gemini-2.0-flash, gpt-4o-mini, offline …", ("llm",)),
    Key("provider", "text", "Which provider to ask, when the model's name does not tell.", ("llm",)),
    Key("temperature", "temperature", "0 for the same answer as far as possible, up to 2 for variety.", ("llm",)),
    Key("max_tokens", "positive", "The longest answer, in tokens.", ("llm",)),
    Key("schema", "schema", "JSON Schema the answer must satisfy, or the name of a file that holds one.", ("llm",)),
    Key("options", "data", "The provider's own options.", ("llm",)),
    Key("source_file", "template", "A file that goes to the model with the prompt.", ("llm",)),
    # function
    Key("function", "text", "The function's registered name.", ("function",), True),
    Key("params", "params", "What the function is given beside the pipe; texts are templates.", ("function",)),
    # command
    Key("command", "command", "Program and arguments, a list; one line under shell: true.", ("command",), True),
    Key("shell", "boolean", "Let a shell read the command. It takes no templates then.", ("command",)),
    Key("env", "environment", "Environment variables; texts are templates.", ("command",)),
    Key("secrets", "texts", "Secrets granted to the command, as environment variables of these names.", ("command",)),
    Key("stdin", "template", "Standard input; what flows into the step by default.", ("command",)),
    Key("cwd", "template", "Directory to run in, under the run's own.", ("command",)),
    Key("format", "format", "How standard output is read: text (default) or json.", ("command",)),
    Key("transient_codes", "codes", "Exit codes after which it is worth trying again.", ("command",)),
    # human
    Key("question", "source", "What the person is asked.", ("human",)),
    Key("show", "template", "What the person is shown; what flows into the step by default.", ("human",)),
    Key("choices", "texts", "The answers to choose from; the one that was chosen is the step's output.", ("human",)),
    # outputs
    Key("output_file", "template", "Where the step's output is written."),
    Key("result_file", "template", "Another word for output_file."),
    Key("output", "step_name", "A second name for the step's output: {{pipe.<output>}}."),
    Key("document_type", "part", "Save the output as a document of this type in the production."),
    Key("step", "part", "The production's step the document goes to; its last one by default."),
    Key("suffix", "part", "The document's suffix; txt by default, json for data."),
    Key("overwrite", "boolean", "Overwrite outputs, edited or not (true), or keep them and skip the step (false)."),
    Key("cache", "boolean", "Take the answer to an equal request from the cache; true unless the step has effects."),
    # order
    Key("needs", "names", "Steps that come before this one; by default the one above it. [] for none."),
    Key("when", "condition", "A template or expression; the step is skipped when it says false."),
    Key("each", "each", "Carry the step out for each item of a list, a glob of files, a CSV, or another step's list."),
    Key("over", "text", "Carry the step out for each item of another step's list, item by item."),
    Key("barrier", "boolean", "With over: wait for all items of the other step first."),
    Key("key", "template", "The key of an item: a column, a member, or a template. It must differ for each item."),
    Key("allow_failures", "count", "How many items may fail before the step fails."),
    # policies
    Key("timeout", "duration", "The longest one attempt may take: 30s, 10m, 1h."),
    Key("retry", "retry", "Tries in all, or {tries, delay, factor, longest, jitter}."),
    Key("on_error", "on_error", "stop (default), or continue without this step's output."),
    Key("review", "review", "A person approves the output first: true, or {again: rounds, expires: 2d}."),
    Key("limits", "names", "Limits this step takes one of; named at the top of the file."),
    Key("priority", "priority", "0 urgent … 3 low; 2 by default."),
    Key("effect", "effect", "What doing it twice would do: none, keyed (safe with a key), once."),
)  # fmt: skip


def known(type: str) -> dict[str, Key]:
    """The keys a step of this type knows, by name."""
    return {key.name: key for key in STEP if not key.types or type in key.types}
