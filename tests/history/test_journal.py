"""Is everything written down that happens, in its form, and nothing that must stay secret?"""

import base64
import json
import logging
from contextlib import suppress

import pytest

from pytest_hsmcluster.cluster import HsmCluster
from pytest_hsmcluster.cryptoki import CKA, CKR
from pytest_hsmcluster.errors import ClusterError, TemplateInvalid
from pytest_hsmcluster.history.events import BIRTHS, OUTCOMES, Cause, Kind
from pytest_hsmcluster.history.history import History
from pytest_hsmcluster.history.holdings import Holdings
from pytest_hsmcluster.history.journal import Journal, well_formed
from tests.stories import drawn, play

# -- the list itself ----------------------------------------------------------------------


def test_journal_numbers_operations_from_one():
    """0 is the service's own work."""
    journal = Journal()
    assert [journal.next_op() for _ in range(3)] == [1, 2, 3]


def test_journal_keeps_what_is_appended_in_order():
    journal = Journal()
    journal.append((Kind.UP, 0, "hsm-1", "a", "created"))
    journal.append((Kind.DOWN, 5, "hsm-1", "a", "chaos"))
    assert len(journal) == 2
    assert [record[0] for record in journal.records] == ["up", "down"]


@pytest.mark.parametrize(
    "record",
    [
        (),
        (Kind.UP,),
        (Kind.UP, 0, "hsm-1", "a"),
        (Kind.UP, 0, "hsm-1", "a", "created", "more"),
        (Kind.UP, "0", "hsm-1", "a", "created"),
        ("sideways", 0, "hsm-1", "a", "created"),
        (7, 0, "hsm-1", "a", "created"),
    ],
)
def test_record_of_another_form_is_not_well_formed(record):
    assert not well_formed(record)


# -- what a run writes ----------------------------------------------------------------------


def grand_tour(cluster):
    """Let everything happen once that a journal has a word for."""
    chaos, clock = cluster.chaos, cluster.clock
    cluster.create_user("bob", "password")
    cluster.admin.change_password("bob", "password2")
    client = cluster.client("app")
    kek = client.generate_key("AES", 256, label="kek")
    dek = client.import_key("AES", bytes(range(32)), label="dek")
    blob = client.wrap_key(dek, with_key=kek)
    client.unwrap_key(blob, with_key=kek, kind="AES", label="again")
    pair = client.generate_key_pair("EC", "P-256", label="signer")
    client.verify(pair.public, b"data", client.sign(pair.private, b"data"))
    client.decrypt(kek, client.encrypt(kek, b"plaintext of the tour"))
    client.set_attribute(kek, CKA.LABEL, "root")
    client.share_key(kek, with_user="bob")
    client.unshare_key(kek, with_user="bob")
    client.generate_key("AES", 128, label="session", token=False)
    with chaos.inject("fail CKR_DEVICE_ERROR @ hsm.authorize command=insert_masked"):
        with chaos.inject("fail CKR_DEVICE_ERROR @ hsm.authorize command=delete_key"):
            with suppress(ClusterError):  # neither copies nor cleanup: tombstoned
                client.generate_key("AES", 256, label="refused")
    with chaos.inject("drop @ wire.response command=generate_key nth=1"), suppress(ClusterError):
        client.generate_key("AES", 256, label="ghost")
    clock.advance(61)
    with chaos.pause("hsm-3"):
        pass
    with chaos.crash("hsm-3"):
        client.delete_key(dek)
    chaos.replace("hsm-2")
    clock.advance(400)
    client.generate_key("AES", 128, label="session", token=False)
    with suppress(ClusterError):
        cluster.client("other", login=False).login("bob", "wrong-password")
    client.logout()
    cluster.admin.delete_user("bob")


@pytest.fixture(scope="module")
def toured():
    with HsmCluster(3, sdk=3, create_object_minimum_nodes=2, keys="seeded") as cluster:
        grand_tour(cluster)
    return cluster


def test_every_kind_of_event_occurs(toured):
    """Words that nobody says would be a promise that nobody keeps."""
    seen = {str(record[0]) for record in toured.history.records}
    assert sorted(kind for kind in Kind if kind not in seen) == []


def test_every_record_is_well_formed_and_time_never_goes_back(toured):
    records = toured.history.records
    assert all(well_formed(record) for record in records)
    instants = [record[1] for record in records]
    assert instants == sorted(instants)


@pytest.mark.parametrize("seed", range(40))
def test_every_story_is_well_formed_and_loads_as_it_was_saved(seed, tmp_path):
    """Whatever happened, next week's reader gets the same history."""
    told = play(drawn(seed, 25))
    assert all(well_formed(record) for record in told.records)
    loaded = History.load(History(told.records).save(tmp_path / "story.jsonl"))
    assert loaded.digest() == told.digest
    assert Holdings(loaded.records).audit() == tuple(loaded.records[-1][2])


@pytest.mark.parametrize("seed", range(40))
def test_every_operation_has_one_invoke_and_at_most_one_outcome(seed):
    """An operation that is still open when the run ends has an unknown outcome, too."""
    told = play(drawn(seed, 25))
    invoked = [record[2] for record in told.records if record[0] == Kind.INVOKE]
    ended = [record[2] for record in told.records if record[0] in OUTCOMES]
    assert invoked == list(range(1, len(invoked) + 1))
    assert sorted(ended) == invoked
    reached = {record[2] for record in told.records if record[0] == Kind.REACH}
    assert reached - {0} <= set(invoked)


def test_causes_that_only_other_tests_bring_about_are_few(toured):
    """Every birth, and of the rest all that one cluster can do by itself."""
    seen = {event.cause for event in toured.history.of(Kind.HELD, Kind.GONE, Kind.TOMBSTONED)}
    missing = [cause for cause in Cause if cause not in seen]
    assert missing == [Cause.DERIVE, Cause.RESTORE, Cause.SYNC_KEY, Cause.CRASH]
    assert all(cause in seen for cause in BIRTHS if cause is not Cause.DERIVE)


def test_audit_is_the_last_word_and_equals_the_fold(toured):
    records = toured.history.records
    assert [record[0] for record in records].count(Kind.AUDIT) == 1
    assert records[-1][0] == Kind.AUDIT
    assert Holdings(records).audit() == records[-1][2]


def test_run_whose_journal_is_wrong_does_not_close_quietly():
    """A key that nobody wrote down is our mistake, and is said to be."""
    cluster = HsmCluster(2)
    key = cluster.client("app").generate_key("AES", 256)
    del cluster.hsm("hsm-2").store.keys[key.number]
    with pytest.raises(AssertionError, match="a mistake in pytest-hsmcluster"):
        cluster.close()
    assert cluster.closed


def test_names_in_the_journal_are_births_and_materials(toured):
    """`key-N` in the order of birth, both halves of a pair with one `mat-N`, an import of known bytes with its own."""
    births = [event for event in toured.history.of(Kind.HELD) if event.cause in BIRTHS]
    assert [event.key for event in births] == [f"key-{number}" for number in range(1, len(births) + 1)]
    mats = {event.label: event.mat for event in births}
    assert mats["dek"] == mats["again"]
    assert len({event.mat for event in births if event.label == "signer"}) == 1
    assert len({event.mat for event in births if event.label in ("kek", "dek", "signer")}) == 3


# -- what a run must not write ------------------------------------------------------------


def spellings(secret: bytes) -> list[str]:
    """How bytes may be written in a text file."""
    return [
        secret.hex(),
        secret.hex().upper(),
        base64.b64encode(secret).decode().rstrip("="),
        repr(secret)[2:-1],
        json.dumps(secret.decode("latin-1"))[1:-1],
        str(list(secret))[1:-1],
        str(int.from_bytes(secret)),
    ]


def test_nothing_secret_is_written_down(tmp_path, caplog):
    """Key bytes, PINs, plaintext, ciphertext and signatures are in no journal, log, error or repr."""
    caplog.set_level(logging.DEBUG)
    secrets: dict[str, bytes] = {
        "PIN": b"a-very-secret-pin",
        "wrong PIN": b"a-quite-wrong-pin",
        "plaintext": b"the plaintext of it",
        "imported": b"imported bytes 0123456789 abcdef",
    }
    texts = []

    def refused(call, *args, **options):
        with pytest.raises(ClusterError) as caught:
            call(*args, **options)
        texts.append(f"{caught.value} {caught.value!r} {vars(caught.value)}")

    with HsmCluster(3, keys="seeded") as cluster:
        cluster.create_user("alice", secrets["PIN"].decode())
        client = cluster.client("app", login=False)
        refused(client.login, "alice", secrets["wrong PIN"].decode())
        client.login("alice", secrets["PIN"].decode())
        kek = client.generate_key("AES", 256, label="kek")
        dek = client.import_key("AES", secrets["imported"], label="dek")
        pair = client.generate_key_pair("EC", "P-256", label="pair")
        box = secrets["ciphertext"] = client.encrypt(kek, secrets["plaintext"])
        secrets["signature"] = client.sign(pair.private, secrets["plaintext"])
        secrets["wrapped"] = client.wrap_key(dek, with_key=kek)
        refused(client.decrypt, kek, box[:-1] + bytes([box[-1] ^ 1]))
        refused(client.verify, pair.public, b"other data", secrets["signature"])
        refused(client.unwrap_key, secrets["wrapped"][:-8] + bytes(8), with_key=kek, kind="AES", label="bad")
        with cluster.chaos.inject("corrupt payload @ wire.request command=insert_masked"):
            with suppress(ClusterError):
                client.generate_key("AES", 256, label="damaged")
        for key in (*cluster.hsm("hsm-1").keys.values(), *cluster.hsm("hsm-2").keys.values()):
            if key.cls != "public":
                secrets[key.name] = key.material.encoded
            texts.append(repr(key))
        secrets["masking key"] = cluster._world.masking_key._secret
        secrets["default password"] = cluster.default_password.encode()
        texts += [repr(one) for one in (cluster, client, *cluster.hsms, cluster.backup(), kek, pair, cluster.history)]
        texts += [str(event) for event in cluster.history]
        texts += [str(entry) for hsm in cluster.hsms for entry in hsm.audit_log]
        texts += client.log
    texts.append(cluster.history.save(tmp_path / "run.jsonl").read_text())
    texts.append(caplog.text)
    everything = "\n".join(texts)
    assert len(secrets) >= 10
    for what, secret in secrets.items():
        for spelling in spellings(secret):
            assert spelling not in everything, f"{what} is written down as {spelling[:12]}…"


def test_secret_key_has_no_public_half():
    """Its bytes leave by no door, and whoever asks is told so."""
    with HsmCluster(2) as cluster:
        client = cluster.client("app")
        key = client.generate_key("AES", 256, label="kek")
        with pytest.raises(TemplateInvalid, match="'kek' .* is a secret AES key and has no public half") as caught:
            client.public_key(key)
        assert caught.value.ckr == CKR.ATTRIBUTE_TYPE_INVALID
