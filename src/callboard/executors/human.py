"""`human`: a step that a person answers.

The executor only writes the draft: the question and the text it is about. Holding it for review, approving,
editing and rejecting are the machine's, so that a person's answer is a fact like any other; wiring's compiler
gives such a task a `review`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from callboard.errors import Permanent
from callboard.executors.flow import field
from callboard.executors.values import text_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from callboard.ports import Context, Json


class Human:
    """Implements `ports.Executor`. Fields: `question`; `show`, by default what flows in; `choices`."""

    kind = "human"
    version = "1"
    effect = "none"

    async def carry_out(self, ctx: Context, inputs: Mapping[str, Json]) -> Json:
        """The text a person is shown; approved, it flows on, and the question does not. Without a text the question
        is shown. Raises Permanent when there is neither."""
        question = text_of(field(inputs, "question", "")).strip()
        shown = text_of(field(inputs, "show", inputs.get("pipe", "")))
        choices = ", ".join(map(text_of, field(inputs, "choices", [])))
        asked = "\n\n".join(part for part in (question, f"One of: {choices}" if choices else "") if part)
        if asked:
            ctx.log(asked, "question")
        if not (shown or asked):
            raise Permanent("there is neither a question nor a text to show. Fix: give the step a `question`")
        return shown or asked
