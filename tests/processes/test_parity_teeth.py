"""Would it be seen if the two networks differed?"""

import pytest

from pytest_hsmcluster.cryptoki import CKA
from pytest_hsmcluster.network.simulated import Silence
from pytest_hsmcluster.processes.mirror import HsmMirror
from pytest_hsmcluster.processes.network import ProcessNetwork
from tests.processes.parity import both


def shared(on):
    """Share a key, rename it, and lose an answer."""
    on(on.cluster.create_user, "bob", "bobs-password")
    app = on.app()
    key = on(app.generate_key, "AES", 256, label="key")
    on(app.share_key, key, with_user="bob")
    on(app.set_attribute, key, CKA.LABEL, "renamed")
    with on.chaos.inject("crash @ hsm.reply command=sign nth=1"):
        on(app.sign, key, b"data")
    on(app.delete_key, key)


def test_equal_networks_differ_in_nothing():
    """What the mistakes below are compared with."""
    assert both(shared) == []


def test_lost_share_is_seen(monkeypatch):
    """A mirror that forgets shares."""
    monkeypatch.setattr(HsmMirror, "set_share", lambda *_: None)

    # The key is deleted on two HSMs; the one that crashed has it still.
    assert any("keys: key-1" in line and "('bob',)" in line for line in both(shared))


def test_wrong_kind_of_silence_is_seen(monkeypatch):
    """A network that takes a connection that was closed for one that was refused."""
    exchange = ProcessNetwork.exchange

    def exchanged(network, call, hsm):
        answer = yield from exchange(network, call, hsm)
        return Silence.REFUSED if answer is Silence.RESET else answer

    monkeypatch.setattr(ProcessNetwork, "exchange", exchanged)

    assert any("refused sign" in line and "'fail'" in line for line in both(shared))


@pytest.mark.parametrize(
    ("fact", "seen"),
    [("_changed", "keys: key-1"), ("_logged", "audit log"), ("_opened", "state"), ("_gone", "keys: key-1")],
)
def test_unheard_fact_is_seen(fact, seen, monkeypatch):
    """A mirror that does not listen to something that its process tells, up to what the closing audit finds."""
    from pytest_hsmcluster.processes import mirror

    kind = next(kind for kind, take in mirror._TAKE.items() if take.__name__ == fact)
    monkeypatch.setitem(mirror._TAKE, kind, lambda *_: None)

    try:
        found = both(shared)
    except AssertionError as error:
        found = [str(error)]

    assert any(seen in line or "the journal says" in line for line in found)
