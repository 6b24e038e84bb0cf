"""The list of proofs, in the order they are run. Sizes are for a machine with two cores: gate within eight minutes,
nightly within two hours."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from callboard.battery.proof import Proof

PROOFS: tuple[Proof, ...] = ()
