"""The list of proofs, in the order they are run. Sizes are for a machine with two cores: gate within eight minutes,
nightly within two hours, two proofs at once (`--jobs 2`)."""

from __future__ import annotations

from callboard.battery.proof import Proof

#: Why there is no history to be checked.
ROWS = "its show writes rows of every kind, which no machine has decided; all of them are compared"

PROOFS: tuple[Proof, ...] = (
    # T1
    Proof(
        "kills", "kill -9 at random moments: of runs, of their children, of commands", "kills:prove_kills", "kills",
        gate=100, nightly=1_000, promise=(1, 2, 15),
    ),
    # T2
    Proof(
        "points", "every named crash point, in every kind of run", "points:prove_points", "kills",
        gate=880, nightly=20_000, promise=(1, 2, 15),
    ),
    Proof(
        "point-kills", "crash points met by real processes", "point_kills:prove_point_kills", "kills",
        gate=120, nightly=1_000, promise=(1, 2, 15),
    ),
    # T3
    Proof(
        "power", "power cuts: what was acknowledged is on the disk", "power:prove_power", "images",
        gate=1_000, nightly=20_000, promise=(1, 3, 15), no_history=ROWS,
    ),
    # T4
    Proof(
        "io-errors", "the n-th I/O error, for every n", "io:prove_io_errors", "workloads",
        gate=2, nightly=8, promise=(1, 3, 4), no_history=ROWS,
    ),
    # T5
    Proof(
        "full", "a full disk: work pauses, says so, and goes on by itself", "full:prove_full", "cycles",
        gate=3, nightly=200, promise=(1, 4),
    ),
    # T6
    Proof(
        "starved", "no inodes, no right to write, no descriptors, no memory", "starved:prove_starved", "cycles",
        gate=0, nightly=60, promise=(1, 4),
    ),
    # T7
    Proof(
        "clock", "the wall clock jumps, by seconds and by decades, while a run waits", "clock:prove_clock", "jumps",
        gate=3, nightly=20, promise=(5,),
    ),
    # T8
    Proof(
        "frozen", "an owner stands still, and wakes up when another has the run", "frozen:prove_frozen", "freezes",
        gate=20, nightly=500, promise=(7,),
    ),
    # T9
    Proof(
        "many", "many processes on one project, killed at random", "many:prove_many", "seconds",
        gate=60, nightly=600, promise=(1, 2, 6),
    ),
    # T10
    Proof(
        "lost", "workers are lost: what they had at work is soon somebody else's", "lost:prove_lost", "losses",
        gate=16, nightly=320, promise=(2, 7),
    ),
    # T11
    Proof(
        "hung", "steps that hang in every way: a time limit ends all of them", "hung:prove_hung", "steps",
        gate=16, nightly=160, promise=(8,),
    ),
    # T12
    Proof(
        "poison", "steps that are poison, beside steps that are not", "poison:prove_poison", "poisons",
        gate=10, nightly=90, promise=(9,),
    ),
    # T13
    Proof(
        "queue", "a full project: ten times as many runs are begun as it has room for", "queue:prove_queue",
        "runs that there is room for", gate=40, nightly=1_000, promise=(10,),
    ),
    # T19
    Proof(
        "model", "rules at random, against a model of what is promised", "model:prove_model", "examples",
        gate=200, nightly=2_000, promise=(1, 2, 3, 4, 5, 6, 7),
    ),
    # T16
    Proof(
        "adopt", "a definition is edited between a crash and what comes after it", "adopt:prove_adopt", "edits",
        gate=60, nightly=500, promise=(13,),
    ),
    # T17
    Proof(
        "damage", "damaged files: found or harmless, and mended", "damage:prove_damage", "damages",
        gate=200, nightly=5_000, promise=(14,),
    ),
    # T18
    Proof(
        "edits", "a person edits, moves and deletes the documents of a run that goes on", "edits:prove_edits",
        "interleavings", gate=100, nightly=2_000, promise=(15,),
    ),
    # T20
    Proof(
        "simulation", "engines in a world where everything goes wrong", "simulation:prove_simulation", "seeds",
        gate=300, nightly=10_000, promise=(1, 5, 6, 7),
    ),
)  # fmt: skip
