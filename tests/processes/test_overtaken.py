"""What becomes of faults, facts and orders that something else overtakes: another kill, an end, a stop?"""

import asyncio
import os
import signal
import socket

import pytest

from pytest_hsmcluster import HsmCluster, HsmState, HsmUnavailable

SETTINGS = {"network": "processes", "routing": "pinned", "sweep": False, "availability_check": False, "clock_rate": 20}


@pytest.fixture
def cluster():
    with HsmCluster(2, **SETTINGS) as cluster:
        yield cluster


async def await_question(cluster, hsm):
    """Wait until an HSM process has asked for the fate of a request, without hearing it."""
    os.kill(cluster.hsm(hsm).pid, signal.SIGSTOP)
    while not cluster.hsm(hsm).inflight:
        await asyncio.sleep(0)
    os.kill(cluster.hsm(hsm).pid, signal.SIGCONT)
    pipe = cluster.hsm(hsm).link._pipe
    while b"Asking" not in pipe._end.recv(1 << 16, socket.MSG_PEEK):
        pass


def states(cluster, hsm):
    """Return how an HSM came to be what it is."""
    return [event.kind for event in cluster.history if event.kind in ("up", "down", "lost") and event.hsm == hsm]


# -- a fault that waits in the pipe of an HSM that is killed ---------------------------------------


@pytest.mark.parametrize("fault", ["crash", "destroy"])
@pytest.mark.parametrize("verb", ["crash", "destroy"])
def test_hsm_that_meets_a_fault_while_it_is_killed_goes_once(cluster, fault, verb):
    """Whoever kills it hears the question last, and the fault strikes within the kill; the journal says it once."""
    app = cluster.async_client()

    async def story():
        create = asyncio.ensure_future(app.generate_key("AES", 256, label="new"))
        await await_question(cluster, "hsm-1")
        getattr(cluster.chaos, verb)("hsm-1")
        with pytest.raises(HsmUnavailable):
            await create

    with cluster.chaos.inject(f"{fault} @ hsm.commit command=generate_key") as injection:
        asyncio.run(story())
    assert injection.hits == 1
    gone = cluster.hsm("hsm-1").state
    assert gone is (HsmState.DOWN if fault == verb == "crash" else HsmState.LOST)
    said = states(cluster, "hsm-1")
    assert said == ["up", *(["down"] if fault == "crash" else []), *(["lost"] if gone is HsmState.LOST else [])]
