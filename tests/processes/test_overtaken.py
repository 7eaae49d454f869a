"""What becomes of faults, facts and orders that something else overtakes: another kill, an end, a stop?"""

import asyncio
import gc
import os
import select
import signal
import socket
import sys
import warnings

import pytest

from pytest_hsmcluster import ApplicationDied, HsmCluster, HsmState, HsmUnavailable, UsageError
from pytest_hsmcluster.processes import control
from pytest_hsmcluster.processes import link as links

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
        with cluster._turnstile:
            getattr(cluster.service, verb)("hsm-1")  # as the chaos does, that would hear the question first
        with pytest.raises(HsmUnavailable):
            await create

    with cluster.chaos.inject(f"{fault} @ hsm.commit command=generate_key") as injection:
        asyncio.run(story())
    assert injection.hits == 1
    gone = cluster.hsm("hsm-1").state
    assert gone is (HsmState.DOWN if fault == verb == "crash" else HsmState.LOST)
    said = states(cluster, "hsm-1")
    assert said == ["up", *(["down"] if fault == "crash" else []), *(["lost"] if gone is HsmState.LOST else [])]


# -- orders that nobody carries out ---------------------------------------------------------------


def test_silent_hsm_takes_any_number_of_orders(cluster):
    """The pipe has room for some hundred; they wait in the test process, and are carried out when the HSM goes on."""
    app = cluster.client()
    link = cluster.hsm("hsm-1").link
    with cluster.chaos.pause("hsm-1"):
        for _ in range(500):
            with cluster.chaos.inject("pass @ hsm.execute", may_miss=True):
                pass
        fault = cluster.chaos.inject("fail CKR_DEVICE_ERROR @ hsm.execute command=random nth=1")
    with pytest.raises(HsmUnavailable):
        app.random(4)
    assert fault.hits == 1
    assert link._done == {}


def test_order_whose_process_dies_may_have_been_carried_out(cluster):
    """Nobody knows: the outcome is `info`."""
    link = cluster.hsm("hsm-1").link
    os.kill(link.pid, signal.SIGKILL)
    with pytest.raises(HsmUnavailable) as caught:
        link.ask(lambda number: control.Audit(number))
    assert caught.value.outcome == "info"


def test_hsm_whose_process_cannot_be_started_is_off(cluster, monkeypatch):
    """Whoever restarts it is told why; it can be tried again, and the cluster can be closed."""

    def refuse(folder):
        raise UsageError("the system starts no further HSM process")

    cluster.client().generate_key("AES", 256, label="key")
    cluster.chaos.crash("hsm-1")
    with monkeypatch.context() as patch:
        patch.setattr(links, "fork", refuse)
        with pytest.raises(UsageError, match="no further HSM process"):
            cluster.chaos.restart("hsm-1")
    assert cluster.hsm("hsm-1").state is HsmState.DOWN
    cluster.chaos.restart("hsm-1")
    assert [key.label for key in cluster.hsm("hsm-1").keys.values()] == ["key"]


def test_hsm_that_joins_forgets_a_fault_with_everybody_else():
    """It began with the point armed; once the fault is out, its requests wait for nobody."""
    with HsmCluster(1, join_snapshot_s=0.1, join_active_s=0.2, **SETTINGS) as cluster:
        asked = []
        with cluster.chaos.inject("pass @ hsm.execute", may_miss=True):
            new = cluster.add_hsm("b")
            while new.state is not HsmState.UP:
                cluster.clock.advance(0.05)
        cluster.network._rack.asked = lambda mirror, question: asked.append(mirror.id)
        cluster.client().random(4)
        assert asked == []


def test_requests_of_a_dead_hsm_are_forgotten(cluster):
    """A request without an answer is remembered, for it may come to a point yet; with its HSM it never will."""
    create = cluster.client().generate_key
    for _ in range(2):
        with cluster.chaos.inject("crash @ hsm.commit command=generate_key"), pytest.raises(HsmUnavailable):
            create("AES", 256)
        cluster.chaos.restart("hsm-1")
        create = cluster.client("again").generate_key
    assert cluster.network._calls == {}


# -- an end that comes first ------------------------------------------------------------------------


def test_request_of_an_application_that_died_meanwhile_is_not_sent(cluster):
    """It was held before its first connection; whoever waits for it is told of the death."""
    app = cluster.async_client(login=False)

    async def story():
        login = asyncio.ensure_future(app.login(cluster.default_user, cluster.default_password))
        while not cluster.hsm("hsm-1").inflight:
            await asyncio.sleep(0)
        app._process.end()
        held.release()
        with pytest.raises(ApplicationDied):
            await login

    with cluster.chaos.inject("hold @ wire.request command=login nth=1") as held:
        asyncio.run(story())


def end_while_connecting():
    """Close a cluster while a client waits for the handshake of its first connection."""
    cluster = HsmCluster(2, **SETTINGS)
    app = cluster.async_client(login=False)

    async def story():
        os.kill(cluster.hsm("hsm-1").pid, signal.SIGSTOP)
        login = asyncio.ensure_future(app.login(cluster.default_user, cluster.default_password))
        while not cluster.hsm("hsm-1").inflight:
            await asyncio.sleep(0)
        os.kill(cluster.hsm("hsm-1").pid, signal.SIGCONT)
        cluster.close()
        with pytest.raises(asyncio.CancelledError):
            await login

    asyncio.run(story())


def test_connection_that_is_being_opened_when_the_cluster_ends_is_closed(monkeypatch):
    """Nobody is left with a socket, who would hear of it from the garbage collector."""
    complaints = []
    monkeypatch.setattr(sys, "unraisablehook", lambda said: complaints.append(str(said.exc_value)))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        end_while_connecting()
        gc.collect()
    assert complaints == []


def test_what_an_hsm_does_after_the_audit_is_no_matter():
    """A request may be carried out late, between the audit and the end of its process."""
    cluster = HsmCluster(2, **SETTINGS)
    key = cluster.client().generate_key("AES", 256, label="key")
    first, last = cluster.hsms
    audit = last.audit

    def late():
        first.link.tell(control.Remove(0, "delete", key.number))
        come = select.poll()
        come.register(first.link._pipe, select.POLLIN)
        come.poll()
        return audit()

    last.audit = late
    cluster.close()
    assert cluster.closed


def test_forked_process_reads_nothing_of_what_an_hsm_tells(cluster):
    """It would be missing in the process to which it is told."""
    cluster.client()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # Python 3.12 warns of forks where there are threads
        pid = os.fork()
    if not pid:
        try:
            cluster.hsm("hsm-1").keys  # noqa: B018
        except UsageError:
            os._exit(0)
        os._exit(1)
    assert os.waitpid(pid, 0)[1] == 0
