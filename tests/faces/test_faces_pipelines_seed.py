"""The seed's pipeline, word for word: what it compiles to, and what is sent to the model when it is rendered."""

from __future__ import annotations

from faces_pipelines import SEED, pipeline, plan, snapshot

from callboard.text.template import Named, compile

RETRY = {"tries": 3, "delay": 1.0, "factor": 2.0, "longest": 60.0, "jitter": 0.25}


def test_the_seeds_pipeline_compiles_to_one_model_call() -> None:
    assert snapshot(plan(SEED)) == {
        "name": "Analysis Pipeline",
        "limits": {},
        "on_failure": "continue",
        "rules": [],
        "settings": {
            "chain": ["analyzer"],
            "file": "flows/a.ai",
            "model": None,
            "outputs": {},
            "production": {"name": "profiles", "project_home": "./project-home", "production_dir": "productions"},
            "vars": {},
        },
        "tasks": [
            {
                "name": "analyzer",
                "executor": "llm",
                "effect": "none",
                "retry": RETRY,
                "inputs": {
                    "model": "gemini-2.0-flash",
                    "output_file": "{{production.instance_dir}}/analysis/results.txt",
                    "prompt": "Analyze the following data:\n{{pipe.pipein-text}}\n",
                    "templates": ["output_file", "prompt"],
                },
            }
        ],
    }


def test_the_prompt_is_a_fixed_line_and_the_input_unchanged() -> None:
    prompt = plan(SEED).tasks[0].inputs["prompt"]
    names = {"pipe": {"pipein_text": "Input {{text}} with {% braces %} and {id}"}}
    assert compile(prompt).render(names) == "Analyze the following data:\nInput {{text}} with {% braces %} and {id}\n"


def test_the_output_goes_into_the_instance() -> None:
    path = plan(SEED).tasks[0].inputs["output_file"]
    names = {"production": Named("profiles", {"name": "profiles", "instance_dir": "/home/profiles_00001"})}
    assert compile(path).render(names) == "/home/profiles_00001/analysis/results.txt"


def test_a_configuration_from_outside_wins_over_the_block() -> None:
    made = plan(SEED, production={"name": "profiles", "project_home": "/elsewhere"})
    assert made.settings["production"] == {"name": "profiles", "project_home": "/elsewhere"}


def test_the_same_file_is_the_same_plan() -> None:
    assert plan(SEED) == plan(SEED) and pipeline(SEED).without_model == ()


#: The older notation: an instruction file, a source file, hyphens in keys, function steps.
PARTITUR = """\
name: transcription
production: {name: speeches, home: ./home}
pipe:
  - type: function
    function: aisource
    params: {file: "{{production}}_{{id}}.txt", dir: "{{production.dir}}"}
  - type: llm
    model: gemini-1.5-pro
    source-file: "audio/{{genre}}_{{id}}_{{no}}.mp3"
    tmpl: summary.j2
    result-file: "out/{{production}}_{{id}}.txt"
  - type: function
    function: content
    params: {format: json, extract: "```json(.*?)```"}
  - type: function
    function: airesult
    params: {file: "{{production}}_{{id}}.json"}
"""


def test_the_older_notation_is_understood() -> None:
    made = plan(PARTITUR)
    assert [task.executor for task in made.tasks] == ["aisource", "llm", "content", "airesult"]
    assert [task.needs for task in made.tasks] == [(), ("step1",), ("step2",), ("step3",)]
    assert made.settings["production"] == {"name": "speeches", "project_home": "./home"}
    assert made.tasks[1].inputs == {
        "model": "gemini-1.5-pro",
        "source_file": "audio/{{genre}}_{{id}}_{{no}}.mp3",
        "prompt": "Summarize:\n{{pipe.pipein-text}}\n",
        "output_file": "out/{{production}}_{{id}}.txt",
        "templates": ["output_file", "prompt", "source_file"],
    }
    assert made.tasks[0].inputs == {
        "params": {"file": "{{production}}_{{id}}.txt", "dir": "{{production.dir}}"},
        "templates": ["params"],
    }
    assert made.tasks[2].inputs == {"params": {"format": "json", "extract": "```json(.*?)```"}}
    assert [task.effect for task in made.tasks] == ["none", "none", "none", "keyed"]
