"""Which hardships have a name, for markers and the command line?"""

from collections.abc import Mapping

from .chaos import Chaos
from .hardships import ScenarioKind
from .toxiproxy.scenarios import LINKS

SCENARIOS: Mapping[str, ScenarioKind] = {
    kind.name: kind
    for kind in (
        ScenarioKind(
            "kill-mid-create",
            "the HSM that makes a key is lost while it is cloned",
            Chaos.kill_mid_create,
            "after_copies",
        ),
        ScenarioKind("replaced-hsm", "an HSM is lost for good, a new one joins from a snapshot", Chaos.replace, "hsm"),
        ScenarioKind("delay-sync", "each round of the service's sweep comes later", Chaos.delay_sync, "seconds"),
        ScenarioKind("stall-sync", "the service's sweep makes no round", Chaos.stall_sync),
        ScenarioKind("fail-clone", "HSMs refuse copies", Chaos.fail_clone, "hsm"),
        ScenarioKind(
            "fail-cleanup", "creates fail and what they leave is not removed", Chaos._scenario_fail_cleanup, "hsm"
        ),
        ScenarioKind("lost-ack", "the first answer to an operation is lost", Chaos.lose_response, "op"),
        ScenarioKind("failed-ack", "an operation is done and answered with an error, once", Chaos.fail_response, "op"),
        ScenarioKind("glitch", "an operation fails once, undone", Chaos.glitch, "op"),
        ScenarioKind("partition", "a client and an HSM cannot reach each other", Chaos.partition),
        ScenarioKind("gray-failure", "an HSM is up and silent", Chaos.pause, "hsm"),
        ScenarioKind("throttled", "an HSM answers that it is busy (0xBB)", Chaos.throttle, "hsm"),
        ScenarioKind("full-hsm", "an HSM has no room for another key", Chaos.fill, "hsm"),
        ScenarioKind("full-disk", "an HSM's disk has no room for another token key", Chaos.fill_disk, "hsm"),
        ScenarioKind("full-sessions", "an HSM opens no further session", Chaos.exhaust_sessions, "hsm"),
        ScenarioKind("joining-hsm", "one more HSM joins from a snapshot", Chaos.join, "zone"),
        ScenarioKind("az-outage", "all HSMs of one zone are off", Chaos.lose_zone, "zone"),
        ScenarioKind("rolling-restart", "HSMs go off and on, one after the other", Chaos.rolling_restart),
        ScenarioKind("flapping", "one HSM goes off and on again and again", Chaos.flap, "hsm"),
        ScenarioKind("user-drift", "a user vanishes from one HSM", Chaos.drop_user),
        ScenarioKind("crashed-hsm", "an HSM is off, restartable", Chaos.crash, "hsm"),
        ScenarioKind("destroyed-hsm", "an HSM is lost for good", Chaos.destroy, "hsm"),
        ScenarioKind("routed-to", "the next calls go to one HSM", Chaos.route_to, "hsm"),
    )
}
"""Scenarios for every cluster, by name, in the order in which they are listed for people."""

ALL: Mapping[str, ScenarioKind] = {**SCENARIOS, **LINKS}
"""Those, and the ones that need a real Toxiproxy before HSM processes."""
