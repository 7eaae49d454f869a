"""What is each trouble of a link called in markers and on the command line?"""

import inspect
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from ..errors import UsageError
from ..hardships import Hardship, ScenarioKind
from .server import ToxiproxyServer
from .trouble import Trouble

if TYPE_CHECKING:
    from ..chaos import Chaos

WANTED = 'network="processes" and the fixture hsm_toxiproxy'
"""What a cluster must have for these."""


def _link(name: str, meaning: str, verb: Callable[..., Trouble], needed: str | None = None) -> ScenarioKind:
    """Return a scenario that takes what a verb of `ToxiproxyServer` takes; one argument may lose its default."""
    parameters = inspect.signature(verb).parameters
    signature = inspect.Signature(
        [one.replace(default=one.empty) if name == needed else one for name, one in parameters.items()]
    )

    def apply(chaos: "Chaos", **given: Any) -> Hardship:
        if chaos.toxiproxy is None:
            raise UsageError(f"{name} needs {WANTED}: a real Toxiproxy between applications and HSM processes")
        bound = signature.bind(chaos.toxiproxy, **given)
        trouble = verb(*bound.args, **bound.kwargs)
        told = {key: value for key, value in given.items() if value != signature.parameters[key].default}
        trouble.scenario = name
        return chaos.began(name, told, trouble.end, hits=lambda: trouble.met)

    apply.__signature__ = signature  # type: ignore[attr-defined]  # its self stands where the chaos does
    return ScenarioKind(name, meaning, apply, "hsm")


LINKS: Mapping[str, ScenarioKind] = {
    kind.name: kind
    for kind in (
        _link("slow-link", "bytes between applications and an HSM come later", ToxiproxyServer.latency),
        _link("jittery-link", "they come later, now more, now less", ToxiproxyServer.latency, "jitter_s"),
        _link("thin-link", "a link carries so many kilobytes a second", ToxiproxyServer.bandwidth),
        _link("slow-close", "the end of a connection is noticed later", ToxiproxyServer.slow_close),
        _link("dead-link", "a link carries nothing, and closes after a while", ToxiproxyServer.timeout),
        _link("reset-link", "connections are reset by the next bytes", ToxiproxyServer.reset_peer),
        _link("sliced-link", "what is sent comes in small parts", ToxiproxyServer.slicer),
        _link("cut-link", "connections close after so many bytes", ToxiproxyServer.limit_data),
        _link("link-down", "connections are closed, and new ones refused", ToxiproxyServer.down),
    )
}
"""Scenarios that need a real network, by name, in the order in which they are listed for people."""
