"""What do themes need: a quiet cluster, what a call came to, and a sentence where something differs?"""

from collections.abc import Callable, Iterator

from pytest_hsmcluster import ClusterError, HsmCluster, KeyHandle
from pytest_hsmcluster.sim.entropy import Stream

from .view import View

Theme = Callable[[Stream], Iterator[str]]
FOUR = ["hsm-1", "hsm-2", "hsm-3", "hsm-4"]
THREE = FOUR[:3]


def cluster(hsms: int = 3, sdk: int = 3, **arguments: object) -> HsmCluster:
    """Return a cluster in which calls go to hsm-1 and the service does nothing by itself, unless told otherwise."""
    shape = {"seed": 1, "keys": "seeded", "sweep": False, "routing": "pinned", "pinned_to": "hsm-1", **arguments}
    if shape["routing"] != "pinned":
        del shape["pinned_to"]
    return HsmCluster(hsms, sdk=sdk, **shape)  # type: ignore[arg-type]


def met(call: Callable[..., object], *args: object, **options: object) -> str:
    """Return what a call came to: `ok`, or the name of its error and how sure it is."""
    try:
        call(*args, **options)
    except ClusterError as error:
        return f"{type(error).__name__} {error.outcome}"
    return "ok"


def differs(what: str, found: object, meant: object) -> Iterator[str]:
    """Yield a sentence unless two things are equal."""
    if found != meant:
        yield f"{what}: {found}, and not {meant}"


def holders(one: HsmCluster, key: KeyHandle) -> list[str]:
    """Return the HSMs that hold a key."""
    return View.of(one).holders(key.number)
