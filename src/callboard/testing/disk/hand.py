"""A hand with a tool of its own: what a person does to a database who knows SQL and not us."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

import apsw

if TYPE_CHECKING:
    from pathlib import Path


def edit(database: Path, sql: str) -> str:
    """Carry out statements and close the file, its log copied back; what was done, or why it was refused."""
    with closing(apsw.Connection(str(database))) as connection:
        try:
            connection.execute(sql)
        except apsw.ConstraintError as error:
            return f"nothing ({error})"
    return sql
