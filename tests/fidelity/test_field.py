"""What teams report, staged by scenarios: a naive application fails for the documented reason, and the remedy works.

One test for each row of `REPORTS`, named after it.
"""

import re
from contextlib import suppress
from pathlib import Path

import pytest

from pytest_hsmcluster import (
    CKA,
    CKM,
    CKR,
    ClusterError,
    HsmBusy,
    KeyCapacityReached,
    KeyNotOnHsm,
    KeyUnavailable,
    LoginFailed,
    TooFewCopies,
)
from pytest_hsmcluster.field_reports import REPORTS
from tests.pkcs11.ckcalls import Calls, mechanism, refused
from tests.test_fidelity import TEXT


def patiently(cluster, call, *args, tries=6, **options):
    """Call, and again after ever longer pauses, as long as the error is one that passes."""
    for attempt in range(tries):
        try:
            return call(*args, **options)
        except ClusterError:
            if attempt == tries - 1:
                raise
            cluster.clock.advance(2**attempt)


def made_once(cluster, app, label):
    """Make a key, and look for what an attempt has left before the next one."""
    for _ in range(5):
        with suppress(ClusterError):
            return app.generate_key("AES", 256, label=label)
        cluster.clock.advance(60)
        found = patiently(cluster, app.find_keys, label=label)
        if found:
            return found[0]
    raise AssertionError("no key could be made")


def test_row_1_key_not_found_just_after_a_create(make):
    """The use is routed to an HSM without a copy: it has to be tried again, with a pause."""
    cluster = make(sdk=3)
    cluster.chaos.install("fail-clone hsm=hsm-2")
    app = cluster.client()
    key = app.generate_key("AES", 256, label="kek")

    cluster.chaos.install("routed-to hsm=hsm-2")
    with pytest.raises(KeyNotOnHsm):
        app.encrypt(key, b"data")
    with pytest.raises(AssertionError, match="routing miss"):
        cluster.check.misses_retried()

    cluster.chaos.install("routed-to hsm=hsm-2")
    patiently(cluster, app.encrypt, key, b"data")
    cluster.check.misses_retried()


def test_row_2_key_lost_though_its_create_succeeded(make):
    """A minimum of one copy acknowledges what one loss takes away; two refuse it, and the next attempt is safe."""
    naive = make(sdk=3)
    naive.chaos.install("kill-mid-create after_copies=1")
    naive.client().generate_key("AES", 256, label="kek")
    with pytest.raises(AssertionError, match="lost key 'kek'"):
        naive.check.no_lost_keys()

    careful = make(sdk=3, create_object_minimum_nodes=2)
    storm = careful.chaos.install("kill-mid-create after_copies=1")
    app = careful.client()
    with pytest.raises(ClusterError):
        app.generate_key("AES", 256, label="kek")
    storm.end()
    made_once(careful, app, "kek")
    careful.check.no_lost_keys()
    careful.check.durable()


def test_row_3_create_fails_and_leaves_an_orphan(make):
    """Neither deleted nor tombstoned: who does not look leaves a key that nobody knows, and makes a second one."""
    spec = "fail-cleanup"
    naive = make(sdk=3, create_object_minimum_nodes=2)
    storm = naive.chaos.install(spec)
    app = naive.client()
    with pytest.raises(TooFewCopies) as caught:
        app.generate_key("AES", 256, label="kek")
    storm.end()
    app.generate_key("AES", 256, label="kek")
    assert (caught.value.outcome, len(app.find_keys(label="kek"))) == ("info", 2)
    with pytest.raises(AssertionError, match="two keys|duplicate|second"):
        naive.check.no_duplicate_labels()

    careful = make(sdk=3, create_object_minimum_nodes=2)
    storm = careful.chaos.install(spec)
    app = careful.client()
    with pytest.raises(TooFewCopies):
        app.generate_key("AES", 256, label="kek")
    storm.end()
    for left in app.find_keys(label="kek"):
        app.delete_key(left)
    app.generate_key("AES", 256, label="kek")
    careful.check.no_orphan_keys()
    careful.check.no_duplicate_labels()


@pytest.mark.parametrize("scenario", ["failed-ack op=generate_key", "lost-ack op=generate_key"])
def test_row_4_and_5_error_returned_but_the_key_exists(make, scenario):
    """Who creates again without looking has two keys of one label; an error is an unknown outcome."""
    naive = make(sdk=3)
    naive.chaos.install(scenario)
    app = naive.client()
    with pytest.raises(ClusterError):
        app.generate_key("AES", 256, label="kek")
    app.generate_key("AES", 256, label="kek")
    naive.clock.advance(60)
    assert len(app.find_keys(label="kek")) == 2
    with pytest.raises(AssertionError, match="kek"):
        naive.check.no_duplicate_labels()

    careful = make(sdk=3)
    careful.chaos.install(scenario)
    app = careful.client()
    key = made_once(careful, app, "kek")
    assert app.find_keys(label="kek") == [key]
    careful.check.no_duplicate_labels()


@pytest.mark.parametrize("scenario", ["crashed-hsm hsm=hsm-2", "az-outage zone=b"])
def test_row_6_works_for_hours_and_fails_after_a_restart(make, scenario):
    """The check runs when a process first uses a key: a new one finds one HSM; a third HSM, or no check, helps."""

    def restarted(hsms, **settings):
        cluster = make(hsms, sdk=5, **settings)
        app = cluster.client()
        key = app.generate_key("AES", 256, label="kek")
        app.encrypt(key, b"data")
        cluster.chaos.install(scenario)
        patiently(cluster, app.encrypt, key, b"data")  # the running process goes on
        fresh = cluster.client()
        patiently(cluster, fresh.encrypt, fresh.find_keys(label="kek")[0], b"data", tries=3)

    with pytest.raises(KeyUnavailable):
        restarted(2)
    restarted(3)
    restarted(2, availability_check=False)


def test_row_7_calls_hang_for_87_seconds(make):
    """The check asks for its whole budget, and nothing in the SDK ends it sooner: the application needs two HSMs."""
    cluster = make(2, sdk=5, sweep=False)
    cluster.chaos.install("fail-clone")
    app = cluster.client()
    began = cluster.clock.now
    with pytest.raises(KeyUnavailable):
        app.generate_key("AES", 256, label="kek")
    assert cluster.clock.now - began == pytest.approx(87.2, abs=0.1)

    patient = make(2, sdk=5, sweep=False, availability_budget_s=5)
    patient.chaos.install("fail-clone")
    app = patient.client()
    began = patient.clock.now
    with pytest.raises(KeyUnavailable):
        app.generate_key("AES", 256, label="kek")
    assert patient.clock.now - began < 6


def test_row_8_login_works_sometimes(make):
    """The HSM that is asked first decides; the user is made again where he is missing."""
    cluster = make(sdk=5)
    cluster.create_user("alice", "correct horse")
    drift = cluster.chaos.install("user-drift hsm=hsm-2 user=alice")

    def logins():
        told = []
        for number in range(6):
            client = cluster.client(f"app-{number}", login=False)
            try:
                client.login("alice", "correct horse")
            except LoginFailed:
                told.append("failed")
            else:
                told.append("ok")
            client.close()
        return told

    assert set(logins()) == {"failed", "ok"}
    assert cluster.coverage("alice") == "inconsistent"

    drift.end()
    assert cluster.coverage("alice") == "full"
    assert set(logins()) == {"ok"}


def test_row_9_user_not_found_on_the_hsm_that_joined_meanwhile(make):
    """A user who is made while an HSM joins is not there; make users when nothing joins, or again afterwards."""
    cluster = make(1, sdk=5)
    cluster.chaos.install("joining-hsm zone=b")
    cluster.clock.advance(200)  # its snapshot has been taken
    cluster.create_user("kmsuser", "correct horse")
    cluster.clock.advance(400)
    assert cluster.coverage("kmsuser") == "inconsistent"

    cluster.create_user("kmsuser", "correct horse", hsms=["hsm-2"])
    assert cluster.coverage("kmsuser") == "full"


@pytest.mark.parametrize("scenario", ["replaced-hsm hsm=hsm-3", "joining-hsm zone=a"])
def test_row_10_new_hsm_lacks_recent_changes(make, scenario):
    """Shares and attributes are never reconciled: make the change again when the HSM has joined."""
    cluster = make(sdk=5)
    cluster.create_user("bob", "correct horse")
    app = cluster.client()
    key = app.generate_key("AES", 256, label="kek")
    cluster.chaos.install(scenario)
    cluster.clock.advance(200)
    app.share_key(key, with_user="bob")
    app.set_attribute(key, CKA.ENCRYPT, False)
    cluster.clock.advance(600)
    with pytest.raises(AssertionError, match="bob|encrypt"):
        cluster.check.in_sync()

    app.unshare_key(key, with_user="bob")
    app.share_key(key, with_user="bob")
    app.set_attribute(key, CKA.ENCRYPT, False)
    cluster.check.in_sync()


@pytest.mark.parametrize("scenario", ["rolling-restart down_s=30 gap_s=30", "crashed-hsm hsm=hsm-1 during=10s..20s"])
def test_row_13_session_keys_vanish(make, scenario):
    """They live in one session on one HSM: who needs one has to be able to make it again."""
    cluster = make(sdk=5, routing="pinned", pinned_to="hsm-1")
    app = cluster.client()
    key = app.generate_key("AES", 256, token=False)
    app.encrypt(key, b"data")
    cluster.chaos.install(scenario)
    cluster.clock.advance(300)

    for _ in range(3):
        with pytest.raises(ClusterError):
            app.encrypt(key, b"data")
        cluster.clock.advance(60)

    again = patiently(cluster, app.generate_key, "AES", 256, token=False)
    app.encrypt(again, b"data")
    cluster.check.session_keys_stay_put()


def test_row_14_throttling_under_a_burst(make):
    """Four attempts of the SDK in half a second are no backoff; pauses that double outlast the burst."""

    def burst(call):
        cluster = make(2, sdk=5)
        app = cluster.client()
        for hsm in ("hsm-1", "hsm-2"):
            cluster.chaos.install(f"throttled hsm={hsm} during=20s")
        return call(cluster, app)

    with pytest.raises(HsmBusy):
        burst(lambda cluster, app: app.random(4))
    assert len(burst(lambda cluster, app: patiently(cluster, app.random, 4))) == 4


def test_row_15_sessions_run_out(make):
    """Processes that are never closed keep theirs; one that ends makes room."""
    cluster = make(1, sdk=3)
    old = cluster.client("leak")
    cluster.chaos.install("full-sessions hsm=hsm-1")
    with pytest.raises(ClusterError, match="maximum number of sessions"):
        cluster.client("new")

    old.close()
    cluster.client("new").random(4)


def test_row_16_key_capacity_reached(make):
    """Full HSMs refuse what others take; keys that are seldom used are wrapped, kept outside and deleted."""
    cluster = make(sdk=3, create_object_minimum_nodes=2)
    app = cluster.client()
    kek, seldom = app.generate_key("AES", 256, label="kek"), app.generate_key("AES", 256, label="seldom")
    for hsm in ("hsm-2", "hsm-3"):
        cluster.chaos.install(f"full-hsm hsm={hsm}")
    with pytest.raises((TooFewCopies, KeyCapacityReached)):
        app.generate_key("AES", 256, label="new")

    blob = app.wrap_key(seldom, with_key=kek)
    app.delete_key(seldom)
    new = app.generate_key("AES", 256, label="new")
    app.delete_key(new)
    assert app.unwrap_key(blob, with_key=kek, kind="AES", label="seldom").label == "seldom"


@pytest.mark.hsm_cluster(device_error_sticks=True)
def test_row_17_stale_context_after_a_device_error(hsm_pkcs11, hsm_chaos):
    """An application that goes on with its context never recovers; one that initializes the library anew does."""
    ck, sign = Calls(hsm_pkcs11.module), mechanism(CKM.AES_CMAC)

    def begin():
        ck.initialize()
        session = ck.open(hsm_pkcs11.slot_id)
        ck.login(session, hsm_pkcs11.user_pin)
        return session

    session = begin()
    key = ck.aes(session, "kek")
    hsm_chaos.install("glitch op=sign code=CKR_DEVICE_ERROR")
    for _ in range(5):
        with refused(CKR.DEVICE_ERROR):
            ck.once(session, "Sign", sign, key, b"data")

    ck.finalize()
    session = begin()
    [again] = ck.find(session, {CKA.LABEL: "kek"})
    assert len(ck.once(session, "Sign", sign, again, b"data")) == 16
    ck.finalize()


def test_row_19_single_operations_fail_during_a_backup(make):
    """Once, and undone: the next attempt works."""
    cluster = make(sdk=5)
    app = cluster.client()
    cluster.chaos.install("glitch op=random")
    with pytest.raises(ClusterError) as caught:
        app.random(4)
    assert caught.value.outcome == "fail"

    again = cluster.chaos.install("glitch op=random")
    assert len(patiently(cluster, app.random, 4)) == 4
    assert again.hits == 1


def test_row_20_deleted_key_reappears(make):
    """A delete that one HSM missed comes back with it: look again when it is back, and delete what is there."""
    cluster = make(sdk=3)
    app = cluster.client()
    key = app.generate_key("AES", 256, label="kek")
    with cluster.chaos.install("crashed-hsm hsm=hsm-3"):
        app.delete_key(key)
    cluster.clock.advance(120)
    with pytest.raises(AssertionError, match="resurrected"):
        cluster.check.no_resurrected_keys()

    for left in app.find_keys(label="kek"):
        app.delete_key(left)
    cluster.clock.advance(120)
    assert app.find_keys(label="kek") == []
    cluster.check.no_resurrected_keys()


def test_row_21_shares_drift_apart(make):
    """A share that one HSM missed is missing there for good, until it is said again."""
    cluster = make(sdk=5)
    cluster.create_user("bob", "correct horse")
    app = cluster.client()
    key = app.generate_key("AES", 256, label="kek")
    with cluster.chaos.install("crashed-hsm hsm=hsm-3"):
        app.share_key(key, with_user="bob")
    cluster.clock.advance(120)
    with pytest.raises(AssertionError, match="bob"):
        cluster.check.in_sync()

    app.random(4)
    app.unshare_key(key, with_user="bob")
    app.share_key(key, with_user="bob")
    cluster.check.in_sync()


# -- the list itself ------------------------------------------------------------------------------


def test_every_report_is_a_row_of_the_page_and_has_its_test():
    """Number, problem and sources are the page's; each of its scenarios is staged."""
    told = Path(__file__).read_text(encoding="utf-8")
    for report in REPORTS:
        row = re.search(rf"^\| {report.number} \| ([^|]*) \| ([^|]*) \|", TEXT, re.MULTILINE)
        assert row is not None, report
        assert row[1].startswith(report.problem), report
        assert set(report.sources) <= set(re.findall(r"\[([^\]]+)\]", row[2])), report
        assert re.search(rf"^def test_row_(\d+_and_)?{report.number}_", told, re.MULTILINE), report
        assert all(re.search(rf'"{name}[ "]', told) for name in report.scenarios), report


def test_rows_without_a_scenario_are_open_or_say_why():
    """What needs a door that is not there, and what no single cluster can suffer."""
    problems = TEXT.split("## Problems that teams report")[1]
    numbers = [int(number) for number in re.findall(r"^\| (\d+) \| ", problems, re.MULTILINE)]
    missing = set(numbers) - {report.number for report in REPORTS}
    assert missing == {11, 12, 18, 22, 23, 24}
