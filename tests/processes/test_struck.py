"""What does an HSM process hold that is killed, stopped or out of disk at any step of any command?

What the same HSM would hold in the simulation; and its memory, its disk and its mirror say the same of it.
"""

import pytest

from pytest_hsmcluster import CKA, ClusterError, HsmCluster, HsmState
from tests.processes.inside import assert_agreed

POINTS = ("hsm.receive", "hsm.authorize", "hsm.execute", "hsm.commit", "hsm.reply")
SOURCE, DESTINATION = "hsm-1", "hsm-2"


def create(app, key):
    return app.generate_key("AES", 256, label="new")


def create_pair(app, key):
    return app.generate_key_pair("EC", "secp256r1", label="new")


def delete(app, key):
    app.delete_key(key)


def log_in(app, key):
    app.logout()
    app.login("crypto_user", app.password)


def rename(app, key):
    app.set_attribute(key, CKA.LABEL, "renamed")


def share(app, key):
    app.share_key(key, with_user="bob")


CASES = (
    ("generate_key", SOURCE, create),
    ("generate_key_pair", SOURCE, create_pair),
    ("extract_masked", SOURCE, create),
    ("insert_masked", DESTINATION, create),
    *((command, hsm, act) for hsm in (SOURCE, DESTINATION) for command, act in (("delete_key", delete),)),
    *(("login", hsm, log_in) for hsm in (SOURCE, DESTINATION)),
    *(("set_attribute", hsm, rename) for hsm in (SOURCE, DESTINATION)),
    *(("share_key", hsm, share) for hsm in (SOURCE, DESTINATION)),
)


def held(cluster):
    """Return what every HSM holds, in words that do not depend on who counts handles."""
    return {
        hsm.id: sorted((key.label, key.cls, key.owner, key.shares) for key in hsm.keys.values()) for hsm in cluster.hsms
    }


def goes_on_later(cluster):
    """A stopped HSM goes on while its client still waits."""
    scheduler = cluster.service.world.scheduler

    def resume():
        silent = [hsm.id for hsm in cluster.hsms if hsm.paused]
        for hsm in silent:
            cluster.service.resume(hsm)
        if not silent:
            look_again()

    def look_again():
        timers[:] = [scheduler.at(scheduler.now_ns + 1_000_000, resume, 0, background=True)]

    timers = []
    look_again()
    return lambda: scheduler.cancel(timers[0])


def told(cluster, effect, point, command, hsm, act):
    """Return what an application is told whose command is struck, and what the HSMs hold then and after a restart."""
    app = cluster.client(f"{act.__name__}-on-{hsm}-by-{command}".replace("_", "-"))
    app.password = cluster.default_password
    key = app.generate_key("AES", 256, label="old")
    end = goes_on_later(cluster) if effect == "pause" else lambda: None
    with cluster.chaos.inject(f"{effect} @ {point} command={command} hsm={hsm} nth=1") as fault:
        try:
            act(app, key)
            said = "ok"
        except ClusterError as error:
            said = type(error).__name__, error.outcome
    end()
    assert fault.hits == 1
    cluster.clock.run_until_idle()
    return said, held(cluster)


def story(network, effect, point, look=lambda cluster: None):
    """Return what became of every command that was struck at a point."""
    seen = {}
    with HsmCluster(3, sdk=3, create_object_minimum_nodes=2, network=network, sweep=False, routing="pinned") as cluster:
        cluster.create_user("bob", "bobs-password")
        for command, hsm, act in CASES:
            said, now = told(cluster, effect, point, command, hsm, act)
            look(cluster)
            for each in cluster.hsms:
                if each.state is HsmState.DOWN:
                    cluster.chaos.restart(each.id)
            look(cluster)
            seen[command, hsm] = said, now, held(cluster)
        for each in cluster.hsms:
            cluster.chaos.crash(each.id).end()
        look(cluster)
        cluster.check.no_lost_keys()
        seen["the end"] = held(cluster)
    return seen


@pytest.mark.parametrize("point", POINTS)
@pytest.mark.parametrize("effect", ["crash", "pause", "fill-disk"])
def test_struck_hsm_process_holds_what_the_simulation_says(effect, point):
    """SIGKILL, SIGSTOP and SIGCONT, or no page left in SQLite: on the HSM that makes a key, and on one that gets it."""
    struck = story("processes", effect, point, assert_agreed)
    simulated = story("simulated", effect, point)

    assert struck == simulated
