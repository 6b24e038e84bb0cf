"""Records of runs and errors: whole, readable later, and without secrets."""

from __future__ import annotations

import json
import stat
from typing import TYPE_CHECKING, Any

import pytest

from callboard.errors import InvalidName
from callboard.productions import diagnostics
from callboard.productions.manager import ProductionManager

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def pm(tmp_path: Path) -> ProductionManager:
    return ProductionManager(config_dict={"name": "p", "project_home": str(tmp_path)}, clock=lambda: 4e9)


def test_a_record_is_a_file_of_its_own_that_only_its_owner_reads(pm: ProductionManager) -> None:
    id = pm.create_instance()
    path = pm.record("error", {"step": "analyse", "message": "no answer"}, instance_id=id)
    assert path.parent == pm.settings_dir / "diagnostics"
    assert path.name.startswith("20961002T070640Z-error-00001-")
    assert json.loads(path.read_text()) == {
        "kind": "error",
        "at": "2096-10-02T07:06:40+00:00",
        "instance_id": "00001",
        "step": "analyse",
        "message": "no answer",
    }
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert pm.record("run", {}) != pm.record("run", {})
    assert pm.update_productions()["added"] == 0


@pytest.mark.parametrize("kind", ["", "../x", "Run", "a b", "x" * 99])
def test_a_kind_is_a_word(pm: ProductionManager, kind: str) -> None:
    with pytest.raises(InvalidName):
        pm.record(kind, {})


def test_secrets_do_not_reach_the_disk(pm: ProductionManager, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CALLBOARD_TEST_API_KEY", "from-the-environment")
    told = {
        "api_key": "k1",
        "headers": {"Authorization": "Bearer k2", "x-api-key": "k3"},
        "message": "failed with from-the-environment, handed-over-secret, sk-abcdefghijklmnopqrstuv",
        "url": "https://me:k4@host/path",
        "tokens": 12,
        "max_tokens": "500",
        "list": ["Bearer abcdefgh.ijkl"],
    }
    text = pm.record("error", told, secrets=["handed-over-secret"]).read_text()
    for secret in ("k1", "k2", "k3", "k4", "from-the-environment", "handed-over", "sk-abc", "abcdefgh"):
        assert secret not in text
    assert json.loads(text)["tokens"] == 12
    assert json.loads(text)["max_tokens"] == "500"
    assert json.loads(text)["url"] == "https://[redacted]@host/path"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (float("nan"), "nan"),
        ({1: (2, None)}, {"1": [2, None]}),
        (ValueError("x"), "x"),
        ({"token": None}, {"token": None}),
        ({"password": ""}, {"password": ""}),
        ({"cookie": ["a"]}, {"cookie": ["a"]}),
        (1.5, 1.5),
    ],
)
def test_anything_can_be_told(value: Any, expected: Any) -> None:
    assert diagnostics.redact(value) == expected


def test_a_lone_surrogate_is_written_visibly(pm: ProductionManager) -> None:
    assert json.loads(pm.record("error", {"message": "a\ud800b"}).read_text())["message"] == "a\ud800b"
