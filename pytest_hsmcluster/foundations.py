"""What does a cluster stand on before it has HSMs?"""

from collections.abc import Callable
from functools import partial
from typing import Any

from .arguments import check_rate
from .network.simulated import Network
from .service.hsm import Hsm
from .service.profile import Profile
from .service.world import World
from .sim.clock import Pace
from .sim.entropy import Stream
from .sim.scheduler import Scheduler

_LETTERS = "234567abcdefghijklmnopqrstuvwxyz"


def pace_of(network: str, clock: str, rate: float, scheduler: Scheduler) -> Pace | None:
    """Return what ties simulated time to the wall clock, or None for a virtual clock."""
    check_rate(network, clock, rate)
    if network == "simulated" and clock == "virtual":
        return None
    from .drivers.pace import RealPace, catch_up

    pace: Pace
    if network == "processes":
        from .drivers.reactor import Reactor

        pace = Reactor(scheduler, rate)
    else:
        pace = RealPace(rate)
    scheduler.catch_up = partial(catch_up, scheduler, pace)
    return pace


def network_of(
    kind: str, world: World, cluster: str, pace: Pace | None, seed: int | None
) -> tuple[Callable[..., Hsm], Network]:
    """Return what makes HSMs, and what carries calls to them."""
    if kind == "simulated":
        return Hsm, Network(world)
    from .processes.network import processes  # imported late: it brings ssl, sockets and a database

    return processes(world, cluster, pace, seed)


def cluster_id(dice: Stream) -> str:
    """Return `cluster-…` with eleven characters of [2-7a-zA-Z] (API reference, cloudhsmv2)."""
    return "cluster-" + "".join(_LETTERS[byte % len(_LETTERS)] for byte in dice(11))


def note_of(seed: int, profile: Profile, hsms: int, minimum: int, network: str, clock: str) -> dict[str, Any]:
    """Return what stands in front of a history: how its cluster was made, and why it has no digest, if it has none."""
    no_digest = "its clock was real, so instants differ from run to run"
    if network == "processes":
        no_digest = "its HSMs were processes, so chance had a say in what came first"
    return {
        "seed": seed,
        "sdk": profile.sdk,
        "hsms": hsms,
        "create_object_minimum_nodes": minimum,
        "availability_check": profile.sdk == 5 and profile.availability_check,
        **({"no_digest": no_digest} if clock == "real" else {}),
    }
