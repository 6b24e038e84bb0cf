"""Begin a run: compile what a person wrote, check all that can be checked, record it. Nothing is carried out here.

Every fault of the file, a model without a key, a production that does not fit and a full disk are told before
anything is made; then the run is recorded, with the id of the instance it will play in, and last the instance is made.
A run that was killed in between is there, and whoever takes it up makes its instance first.
"""

from __future__ import annotations

import json
import os
import re
import secrets
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from callboard.app import places
from callboard.app.commands.check import check_override, read_pipeline
from callboard.app.commands.playing import make_instance
from callboard.app.views.words import iso
from callboard.app.wiring import load
from callboard.core import plan as plans
from callboard.crash import point
from callboard.errors import Conflict, InvalidName, NotFound, UsageError

if TYPE_CHECKING:
    from callboard.app.wiring import House
    from callboard.core.plan import Plan
    from callboard.errors import InvalidFile
    from callboard.ports import RunRow

#: Where a pipeline that is named without its path is looked for, and what may be missing at its end.
PLACES, ENDS = ("", "partitur"), ("", ".ai", ".yml", ".yaml")


class Production(NamedTuple):
    """The production a pipeline plays in, and what becomes of its result.

    `config` is the path of a configuration, a mapping of one, or a manager; `instance` an id, else a new one is made.
    """

    config: Any = None
    instance: str | None = None
    document_type: str | None = None
    step: str | None = None
    suffix: str | None = None


NO_PRODUCTION = Production()


def submit_pipeline(
    house: House,
    file: Path,
    text: str | None = None,
    *,
    name: str | None = None,
    id: str | None = None,
    vars: Mapping[str, Any] | None = None,
    production: Production = NO_PRODUCTION,
    overwrite: bool | None = None,
    profile: str | None = None,
    remark: Callable[[InvalidFile], None] = lambda remark: None,
) -> RunRow:
    """Record a run of a pipeline file on `text`. With an `id` that is known, that run, if it is the same.

    `profile` is `{{id}}` where no production plays; `remark` hears what is odd in the file but no fault. Raises
    InvalidFile (also for a model without a key), NotFound, UsageError.
    """
    known = _known(house, id, "pipelines")
    if known is not None:
        _demand_same(known, house.begun(known), file, text)
        return house.successor(known)
    check_override(house)
    parsed = read_pipeline(house, file, vars=vars, remark=remark)
    manager = _manager(parsed, production)
    has_id = manager is not None or profile is not None
    if not has_id and (wanted := load("faces.pipelines.scope", "wants_production")(parsed.scope)) is not None:
        raise wanted
    plan = load("faces.pipelines.compile", "compile")(
        parsed, production=manager.config.as_dict() if manager is not None else {} if has_id else None
    )
    plan = _with_result(plan, production, manager)
    playing, instance = (None, profile) if manager is None else _instance(manager, production, file)
    params = {
        "input": text or "",
        "dir": os.getcwd(),
        "production": playing,
        "id": instance,
        "vars": dict(vars or {}),
        "env": dict(house.settings.shown),
        "model": house.settings.model,
        "now": iso(house.clock.now().wall),
        "overwrite": overwrite,
        "file": places.pipeline(str(file), os.getcwd(), house.base),
        **({"result": _saved(production)} if production.document_type is not None else {}),
    }
    row = _create(house, plan, params, name or plan.name, id, "pipelines")
    make_instance(house, row)
    return row


def submit_functions(
    house: House,
    plan: Plan,
    calls: Sequence[Callable[..., Any]],
    text: str | None = None,
    *,
    name: str | None = None,
    id: str | None = None,
    params: Mapping[str, Any] | None = None,
) -> RunRow:
    """Record a run of a plan of functions that live in this process. With an `id` that is known, that run.

    Raises Conflict when it has another plan; a function that was changed makes another one.
    """
    for call in calls:
        house.registry.add(call)
    known = _known(house, id, "functions")
    if known is not None:
        if known.plan != plans.digest(plans.dump(plan)):
            raise Conflict(f"the id {id} belongs to a run with another plan or other functions; choose another")
        return known
    begun = {"input": text or "", "now": iso(house.clock.now().wall), **(params or {}), "dir": os.getcwd()}
    return _create(house, plan, begun, name or plan.name, id, "functions")


def find_pipeline(name: str) -> Path:
    """A pipeline by its path, or by a bare name here or in `partitur/`. Raises NotFound."""
    for place in PLACES:
        for end in ENDS:
            path = Path(place, name + end)
            if path.is_file():
                return path
    raise NotFound(
        f"there is no pipeline {name!r}: looked for it here and in partitur/, also with {', '.join(ENDS[1:])}"
    )


# ── steps of beginning ──────────────────────────────────────────────────────────────────────────────────


def _known(house: House, id: str | None, face: str) -> RunRow | None:
    """The run of an id that somebody chose, when it is there already. Raises InvalidName, Conflict."""
    if id is None:
        return None
    if not re.fullmatch(r"[a-z0-9][a-z0-9._-]{0,63}", id):
        raise InvalidName(f"{id!r} cannot be an id: small letters, digits, . _ - and at most 64 of them")
    try:
        row: RunRow = house.store.find_run(id)
    except NotFound:
        return None
    if row.id != id:
        return None
    if row.face != face:
        raise Conflict(f"the id {id} belongs to a run of {row.face} already; choose another")
    return row


def _demand_same(row: RunRow, begun: Mapping[str, Any], file: Path, text: str | None) -> None:
    """An id stands for one run: what comes again under it must be the same. Raises Conflict."""
    if os.path.normpath(os.path.join(begun["dir"], begun["file"])) != os.path.abspath(file):
        raise Conflict(f"the id {row.id} belongs to a run of {begun['file']} already; choose another")
    if text is not None and text != begun["input"]:
        raise Conflict(f"the id {row.id} belongs to a run on another text already; choose another")


def _manager(parsed: Any, production: Production) -> Any:
    """The manager of the production that plays: the one that was named, else the file's own block."""
    manager_of = load("productions.manager", "ProductionManager")
    block = dict(parsed.production) if parsed.production else None
    if production.config is None:
        if block is None:
            for field in ("instance", "document_type", "step"):
                if getattr(production, field) is not None:
                    raise UsageError(f"--{field.replace('_', '-')} needs a production; name its configuration")
            return None
        return manager_of(config_dict=block)
    if isinstance(production.config, manager_of):
        manager = production.config
    elif isinstance(production.config, Mapping):
        manager = manager_of(config_dict=production.config)
    else:
        manager = manager_of(Path(production.config))
    if block is not None and block.get("name") not in (None, manager.config.name):
        raise UsageError(
            f"{parsed.file} belongs to the production {block['name']!r}, but {manager.config.name!r} was named"
        )
    return manager


def _with_result(plan: Plan, production: Production, manager: Any) -> Plan:
    """Let the last step save its output as the document that was asked for."""
    if production.document_type is None:
        return plan
    last = plan.tasks[-1]
    if last.map is not None:
        raise UsageError(
            f"the last step, {last.name}, has an output for each item; add a step that brings them together"
        )
    step = production.step
    if step is not None and step not in manager.config.steps:
        raise UsageError(
            f"the production {manager.config.name!r} has no step {step!r}; it has {', '.join(manager.config.steps)}"
        )
    manager.names.kind(production.document_type)
    return with_saved(plan, _saved(production))


def _saved(production: Production) -> dict[str, str]:
    saved = {"document_type": production.document_type, "step": production.step, "suffix": production.suffix}
    return {name: value for name, value in saved.items() if value is not None}


def with_saved(plan: Plan, saved: Mapping[str, str]) -> Plan:
    """The plan whose last step saves its output as this document."""
    last = plan.tasks[-1]
    return plan._replace(tasks=(*plan.tasks[:-1], last._replace(inputs={**last.inputs, **saved})))


def _instance(manager: Any, production: Production, file: Path) -> tuple[dict[str, Any], str]:
    """The instance that plays, with the values templates see. A new one has only its id: it is made once the run is
    recorded, so that none is left behind that no run knows."""
    if production.instance is None:
        id, planned = manager.reserve_instance(), {"pipeline": file.name}
    else:
        manager.demand()
        id, planned = manager.get_instance(production.instance).instance_id, None
    values = manager.variables(id, step=production.step, document_type=production.document_type or "", planned=planned)
    config = manager.config
    naming = {"id_format": config.id_format, "document_pattern": config.document_pattern, "steps": list(config.steps)}
    return {**values, **naming}, id


def _create(house: House, plan: Plan, params: Mapping[str, Any], name: str, id: str | None, face: str) -> RunRow:
    text = plans.dump(plan)
    house.demand_room()
    try:
        row: RunRow = house.store.create_run(
            id=id or _new_id(name),
            name=name,
            plan=text,
            params=json.dumps(
                places.recorded(params, house.base), ensure_ascii=False, allow_nan=False, separators=(",", ":")
            ),
            face=face,
            at=house.clock.now().wall,
        )
        point("submit.recorded")
    except Conflict:  # somebody was quicker
        known = _known(house, id, face)
        if known is None or known.plan != plans.digest(text):
            raise
        return known
    return row


def _new_id(name: str) -> str:
    """A word of the name and six letters nobody has to remember: a beginning is enough everywhere."""
    word = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:40].strip("-") or "run"
    return f"{word}-{secrets.token_hex(3)}"
