"""Does an HSM with a disk to itself keep memory, disk and what it tells in step?"""

import socket
import sqlite3

import pytest

from pytest_hsmcluster import CKA, ClusterError, HsmCluster, KeyCapacityReached, LoginFailed
from pytest_hsmcluster.history.events import Kind
from pytest_hsmcluster.keys.masking import MaskingKey
from pytest_hsmcluster.keys.source import SystemSource
from pytest_hsmcluster.processes import control
from pytest_hsmcluster.processes.alone import HsmAlone, RealScheduler
from pytest_hsmcluster.processes.asker import Asker
from pytest_hsmcluster.processes.block import Block
from pytest_hsmcluster.processes.database import Database, DeadDisk, DiskFull
from pytest_hsmcluster.processes.pipe import Pipe
from pytest_hsmcluster.processes.reporter import Reporter
from pytest_hsmcluster.service.accounts import Accounts, UserType, account
from pytest_hsmcluster.service.calls import Call
from pytest_hsmcluster.service.commands import DeleteKey, GenerateKey, GenerateKeyPair, Login, SetAttribute, ShareKey
from pytest_hsmcluster.service.profile import STANDARD
from pytest_hsmcluster.service.world import World

PASSWORD = "password-of-zoe"
INSTANT = STANDARD.overridden({"wire_ns": 0, "execute_ns": 0, "clone_ns": 0})


class Alone:
    """An HSM as its process has it, in this process; `told()` is what has come out of its pipe."""

    def __init__(self, folder, masking_key, first_handle=1000, boots=0, deaf=False):
        ours, theirs = socket.socketpair()
        self.pipe = Pipe(ours, control.decode_telling)
        self.theirs = Pipe(theirs, control.decode_order)
        if deaf:
            self.theirs.send = lambda message: None
        self.scheduler = RealScheduler()
        self.reporter = Reporter(self.theirs)
        self.asker = Asker(self.theirs, self.reporter, 5)
        self.database = Database(folder)
        world = World(
            INSTANT, self.scheduler, self.reporter, self.asker, Block(first_handle), SystemSource(), masking_key
        )
        world.trouble = self.asker
        self.hsm = HsmAlone("hsm-1", "a", "10.0.0.10", world, Accounts({}), self.database, self.reporter)
        self.hsm.boots = boots
        self.hsm.load()
        self.ops = 0

    def ask(self, request, client=1):
        """Have it serve a command, and return the answer."""
        self.ops += 1
        call = Call(self.ops, request.name, "app", "zoe", 2, session=client, hsm="hsm-1", command=request.name)
        call.request = request
        flow = self.hsm.serve(call)
        try:
            next(flow)
        except StopIteration as done:
            return done.value
        raise AssertionError("it waits for somebody")

    def begin(self, request):
        """Have it serve a command up to where it waits, and return its flow."""
        self.ops += 1
        call = Call(self.ops, request.name, "app", "zoe", 2, session=1, hsm="hsm-1", command=request.name)
        call.request = request
        self.asker.numbers[call] = 70 + self.ops
        flow = self.hsm.serve(call)
        return flow, next(flow)

    def told(self):
        self.reporter.flush()
        return list(self.pipe.receive())

    def facts(self):
        """Return what it has told since, without the points that were passed and the audit log."""
        silent = (control.Reached, control.Logged)
        return [fact for report in self.told() for fact in report.facts if not isinstance(fact, silent)]

    def memory(self):
        store = self.hsm.store
        held = [(key, False) for key in store.keys.values()] + [(key, True) for key in store.tombstones.values()]
        return {key.handle: (key.label, key.shares, key.token, dead) for key, dead in held}

    def end(self):
        self.database.close()
        self.pipe.close()
        self.theirs.close()


@pytest.fixture
def masking_key():
    return MaskingKey.random(SystemSource())


@pytest.fixture
def start(tmp_path, masking_key):
    """Start the HSM, again and again on the same disk."""
    started = []

    def again(**how):
        for one in started:
            one.end()
        started[:] = [Alone(tmp_path, masking_key, boots=len(started), **how)]
        return started[0]

    yield again
    for one in started:
        one.end()


@pytest.fixture
def alone(start):
    """An HSM with two users, one of whom is logged in."""
    alone = start()
    users = {name: account(name, PASSWORD, UserType.CU, number) for number, name in enumerate(("zoe", "bob"))}
    alone.hsm.set_users(Accounts(users))
    alone.ask(Login("zoe", PASSWORD))
    alone.told()
    return alone


def made(alone, label="payroll", token=True):
    (key,) = alone.ask(GenerateKey("AES", 256, label, token, None))
    return key.handle


# -- what is on the disk and what is told ------------------------------------------------------------


def test_what_a_command_changes_is_on_the_disk_and_told_with_it(alone):
    """One commit and one report a command, in their order; the last report stands beside what it tells."""
    handle = made(alone)
    (report,) = [report for report in alone.told() if report.number]
    assert report.number == alone.database.told[0] == 1
    (held,) = [fact for fact in report.facts if isinstance(fact, control.Held)]
    assert (held.key.handle, held.cause, held.op) == (handle, "create", alone.ops)
    assert [row[0] for row in alone.database.rows()] == [handle]

    alone.ask(SetAttribute(handle, CKA.LABEL, "renamed"))
    alone.ask(ShareKey(handle, "bob"))
    alone.ask(DeleteKey(handle))
    numbers = [report.number for report in alone.told() if report.number]
    assert numbers == [2, 3, 4]
    assert (alone.database.told[0], alone.database.rows()) == (4, [])


def test_session_key_is_told_and_never_on_the_disk(alone):
    handle = made(alone, token=False)
    assert [type(fact) for fact in alone.facts()] == [control.Held]
    assert (alone.database.rows(), alone.database.told[0]) == ([], 0)
    alone.ask(SetAttribute(handle, CKA.TOKEN, True))
    assert [row[0] for row in alone.database.rows()] == [handle]


def test_restarted_hsm_has_all_that_was_on_its_disk(alone, start):
    """Keys with their shares and attributes, tombstones, users and their bad passwords; no session, no session key."""
    kept, marked, gone = (made(alone, label) for label in ("kept", "marked", "gone"))
    made(alone, "of the session", token=False)
    alone.ask(SetAttribute(kept, CKA.LABEL, "renamed"))
    alone.ask(ShareKey(kept, "bob"))
    alone.hsm.order(lambda: alone.hsm.store.tombstone(marked, "cleanup"))
    alone.ask(DeleteKey(gone))
    with pytest.raises(LoginFailed):
        alone.ask(Login("bob", "wrong"))
    before = alone.memory()

    again = start(first_handle=5000)
    assert again.memory() == {handle: said for handle, said in before.items() if said[2]}
    assert again.memory() == {kept: ("renamed", ("bob",), True, False), marked: ("marked", (), True, True)}
    assert again.hsm.users == ["zoe", "bob"]
    assert again.hsm.accounts.failures == {"bob": 1}
    again.ask(Login("zoe", PASSWORD))
    assert made(again) == 5000
    assert again.database.told[0] == 9  # each of the nine changes of the disk is counted, across the restart


# -- a full disk -------------------------------------------------------------------------------------


def test_full_disk_rolls_back_memory_too(alone):
    """Neither half of a pair is there; nothing is told of it, and what was told before is."""
    handle = made(alone)
    alone.told()
    before, told = alone.memory(), alone.database.told[0]
    alone.hsm.limit_disk(True)
    for request in (
        GenerateKey("AES", 256, "no", True, None),
        GenerateKeyPair("EC", "secp256r1", "no", True, None, None),
    ):
        with pytest.raises(KeyCapacityReached, match="the disk of hsm-1 is full") as refused:
            alone.ask(request)
        assert refused.value.hsm == "hsm-1"
    assert alone.memory() == before
    assert (alone.facts(), alone.database.told[0]) == ([], told)
    assert [row[0] for row in alone.database.rows()] == [handle]

    alone.hsm.limit_disk(False)
    made(alone)
    assert [type(fact) for fact in alone.facts()] == [control.Held]


def test_disk_that_nobody_has_limited_is_full_with_its_folder(alone):
    """No hardship is to blame, and none can be lifted."""
    alone.database.limit(True)
    with pytest.raises(KeyCapacityReached, match=r"nobody limits it: the folder of \$TMPDIR has no room left"):
        alone.ask(GenerateKey("AES", 256, "no", True, None))


def test_disk_that_breaks_rolls_back_memory_too(alone, monkeypatch):
    """What is on no disk is in no memory, and nobody is told of it, whatever is wrong with the disk."""

    def broken(*_, **__):
        raise sqlite3.OperationalError("disk I/O error")

    alone.facts()
    with monkeypatch.context() as patch:
        patch.setattr(alone.database, "write", broken)
        with pytest.raises(sqlite3.OperationalError):
            alone.ask(GenerateKey("AES", 256, "no", True, None))
    assert (alone.hsm.keys, alone.facts()) == ({}, [])


def test_session_key_stays_when_it_finds_no_room_on_the_disk(alone):
    """It was to become a token key: it is what it was, in memory too."""
    handle = made(alone, "of the session", token=False)
    alone.hsm.limit_disk(True)
    with pytest.raises(KeyCapacityReached):
        alone.ask(SetAttribute(handle, CKA.TOKEN, True))
    assert alone.memory() == {handle: ("of the session", (), False, False)}
    alone.ask(SetAttribute(handle, CKA.LABEL, "renamed"))
    assert alone.memory() == {handle: ("renamed", (), False, False)}


def test_keys_are_used_shared_renamed_and_deleted_on_a_full_disk(alone):
    handle = made(alone)
    alone.hsm.limit_disk(True)
    alone.ask(ShareKey(handle, "bob"))
    alone.ask(SetAttribute(handle, CKA.LABEL, "a name that is longer than the one that it had"))
    made(alone, "of the session", token=False)
    alone.ask(DeleteKey(handle))
    assert alone.database.rows() == []


def test_order_of_the_service_is_carried_out_whole_or_not_at_all(alone):
    """Two keys are to come together, and the second one is refused."""
    (key,) = alone.ask(GenerateKey("AES", 256, "first", True, None))
    alone.ask(DeleteKey(key.handle))
    alone.told()

    def take_in():
        alone.hsm.store.insert(key, "join")
        alone.hsm.store.insert(key, "join")
        raise KeyCapacityReached("no room for the second")

    with pytest.raises(KeyCapacityReached):
        alone.hsm.order(take_in)
    assert (alone.memory(), alone.database.rows(), alone.facts()) == ({}, [], [])


def test_bad_password_that_finds_no_room_is_counted_and_no_report_is_skipped(alone, start):
    """A report has the number that stands on the disk: else the next one would be taken for one that was heard."""
    alone.hsm.limit_disk(True)
    alone.database.write = full = _Full(alone.database.write)
    with pytest.raises(LoginFailed):
        alone.ask(Login("bob", "wrong"))
    assert full.refused == 1
    (report,) = [one for one in alone.told() if any(isinstance(fact, control.Failures) for fact in one.facts)]
    assert report.number == alone.database.told[0] == 0
    alone.database.write = full.write
    alone.hsm.limit_disk(False)
    made(alone)
    assert alone.database.told[0] == 1


class _Full:
    """A disk that takes nothing at all, not even a number that is one higher."""

    def __init__(self, write):
        self.write, self.refused = write, 0

    def __call__(self, *args, **kwargs):
        self.refused += 1
        raise DiskFull


# -- a report that nobody heard ------------------------------------------------------------------------


def test_report_of_a_process_that_died_before_it_told_is_applied_once():
    """It stands on the disk beside what it tells: the mirror takes it from there, and not again at the next look."""
    with HsmCluster(2, network="processes", sweep=False, availability_check=False) as cluster:
        app = cluster.client()
        told = app.generate_key("AES", 256, label="told")
        cluster.chaos.crash("hsm-1")
        mirror, world = cluster.hsm("hsm-1"), cluster.service.world
        dying = Alone(mirror._home.folder("hsm-1"), world.masking_key, world.register.block(16), deaf=True)
        dying.hsm.open_session(1, "crypto_user")
        handle = made(dying, "never told")
        dying.end()
        assert handle not in mirror.keys

        for _ in range(3):
            mirror.read_disk()
        assert {key.label for key in mirror.keys.values()} == {"told", "never told"}
        assert [event.hsm for event in cluster.history.of(Kind.HELD) if event.handle == handle] == ["hsm-1"]

        cluster.chaos.restart("hsm-1")
        mirror.read_disk()
        assert [*mirror.keys] == [told.number, handle]
        with DeadDisk(mirror._home.folder("hsm-1")) as disk:
            assert [row[0] for row in disk.rows()] == [told.number, handle]


# -- asking ---------------------------------------------------------------------------------------------


def test_request_waits_at_an_armed_point_for_its_fate(alone):
    """What was told before goes first; nothing has changed; then it goes on."""
    alone.asker.armed = frozenset({"hsm.commit"})
    flow, waits_for = alone.begin(GenerateKey("AES", 256, "payroll", True, None))
    *before, asking = alone.told()
    assert (asking.point, asking.request, asking.done) == ("hsm.commit", 70 + alone.ops, False)
    assert [point for fact in before[0].facts for point in fact.points] == [
        "hsm.receive",
        "hsm.authorize",
        "hsm.execute",
    ]
    assert (alone.memory(), alone.database.rows()) == ({}, [])

    alone.asker.meet(control.Fate(asking.number), alone.scheduler)
    assert waits_for.fired
    with pytest.raises(StopIteration) as done:
        flow.send(waits_for.value)
    (key,) = done.value.value
    assert key.label == "payroll"
    assert key.handle in alone.memory()


def test_fate_can_be_an_error(alone):
    """Before the commit nothing has been done; with the answer ready nobody knows."""
    for point, outcome, keys in (("hsm.commit", "fail", 0), ("hsm.reply", "info", 1)):
        alone.asker.armed = frozenset({point})
        flow, _ = alone.begin(GenerateKey("AES", 256, "payroll", True, None))
        asking = alone.told()[-1]
        with pytest.raises(ClusterError, match="injected by a fault") as failed:
            flow.send(control.Fate(asking.number, error="CKR_DEVICE_ERROR"))
        assert (failed.value.outcome, len(alone.database.rows())) == (outcome, keys)


def test_reporter_tells_in_order_and_only_once(alone):
    """Facts gather until somebody tells them; an HSM alone makes no other records."""
    alone.ask(Login("zoe", PASSWORD))
    passed = [fact for report in alone.told() for fact in report.facts if isinstance(fact, control.Reached)]
    points = [point for fact in passed for point in fact.points]
    assert points == ["hsm.receive", "hsm.authorize", "hsm.execute", "hsm.commit", "hsm.reply"]
    assert alone.told() == []
    with pytest.raises(AssertionError, match="an HSM alone writes no up"):
        alone.reporter.append((Kind.UP, 0, "hsm-1", "a", "restart"))
