"""What goes wrong in a simulated world: one function for each way, drawn at random and over by itself.

Processes die and stand still, alone or one after another; the machine sleeps and reboots; its wall clock jumps or
runs at another speed; the disk is slow, full, or fails, also in reading; bells are not heard, or late. A way that is
more of what happens in the field stands more than once in `HARMS`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol, TypeAlias

if TYPE_CHECKING:
    from callboard.battery.player import Player
    from callboard.battery.reach import Disk
    from callboard.testing.virtual import Host, World


class Harmed(Protocol):
    """The simulation, as far as it can be harmed."""

    world: World
    host: Host
    disk: Disk
    players: list[Player]
    lease: float
    bells: float  # seconds after which a bell is heard, at most; 0: none is

    def somebody(self) -> Player | None: ...

    def play(self) -> None: ...

    def play_again(self) -> None: ...

    def hear_again(self) -> None: ...


def _crash(simulation: Harmed) -> None:
    player = simulation.somebody()
    if player is not None:
        player.process.kill()
        simulation.world.after(simulation.world.between(0.0, 5.0), simulation.play_again)


def _freeze(simulation: Harmed) -> None:
    player = simulation.somebody()
    if player is not None:
        player.process.freeze()
        simulation.world.after(simulation.world.between(0.1, 3.0) * simulation.lease, player.process.thaw)


def _swizzle(simulation: Harmed) -> None:
    """All stop one by one, and wake in another order."""
    world, lease = simulation.world, simulation.lease
    for player in simulation.players:
        world.after(world.between(0.0, lease), player.process.freeze)
        world.after(world.between(lease, 4 * lease), player.process.thaw)


def _suspend(simulation: Harmed) -> None:
    """For a second, or for days."""
    world = simulation.world
    if not simulation.host.asleep:
        simulation.host.suspend(10 ** world.between(0.0, 5.5))


def _reboot(simulation: Harmed) -> None:
    simulation.host.reboot()
    simulation.world.after(simulation.world.between(0.0, 5.0), simulation.play_again)


def _jump(simulation: Harmed) -> None:
    seconds = simulation.world.random.choice((-315e6, -3600.0, -1.0, 1.0, 3600.0, 86400.0, 2.1e9))
    simulation.host.jump(seconds)


def _drift(simulation: Harmed) -> None:
    """The wall clock runs ten times too fast, stands, or runs backwards, until it is set right."""
    world, host = simulation.world, simulation.host
    host.jump(0.0, rate=world.random.choice((10.0, 0.0, -1.0)))
    world.after(world.between(1.0, 10.0), lambda: host.jump(0.0))


def _slow(simulation: Harmed) -> None:
    simulation.disk.slow = 10 ** simulation.world.between(0.5, 3.0)
    simulation.world.after(simulation.world.between(0.0, 6.0), simulation.disk.heal)


def _full(simulation: Harmed) -> None:
    simulation.disk.full = True
    simulation.world.after(simulation.world.between(0.0, 6.0), simulation.disk.heal)


def _fail(simulation: Harmed) -> None:
    simulation.disk.failing = 1 + simulation.world.random.randrange(4)
    simulation.disk.after = simulation.world.chance(50)


def _blind(simulation: Harmed) -> None:
    """Half of what is read cannot be read."""
    simulation.disk.unreadable = True
    simulation.world.after(simulation.world.between(0.0, 6.0), simulation.disk.heal)


def _deaf(simulation: Harmed) -> None:
    """No bell is heard for a while, or each comes seconds late: looking now and then has to do."""
    world = simulation.world
    simulation.bells = 0.0 if world.chance(50) else world.between(1.0, 20.0)
    world.after(world.between(1.0, 20.0), simulation.hear_again)


def _stop(simulation: Harmed) -> None:
    player = simulation.somebody()
    if player is not None and player.has_begun:
        player.stop(interrupt=simulation.world.chance(50))
        simulation.world.after(simulation.world.between(0.0, 5.0), simulation.play_again)


def _join(simulation: Harmed) -> None:
    if len(simulation.players) < 4:
        simulation.play()


Harms: TypeAlias = tuple[Callable[[Harmed], None], ...]

HARMS: Harms = (
    _crash, _crash, _crash, _freeze, _freeze, _freeze, _swizzle, _suspend, _reboot, _jump, _slow, _slow, _full,
    _fail, _fail, _fail, _stop, _stop, _join, _drift, _blind, _deaf, _deaf,
)  # fmt: skip
#: Those of the first release: a seed that found something among them shows it among them only.
FIRST_HARMS: Harms = HARMS[:19]
