"""Which calls count as attempts at the same thing?"""

import pytest

from pytest_hsmcluster.checkers.attempts import Chain, chains
from pytest_hsmcluster.checkers.check import HsmCheck
from pytest_hsmcluster.history.places import OURS, UNKNOWN, Place, Site

SIGN = Place("vault.py", 7, "Vault.sign", False)


class Log:
    """A story whose calls have sites, and whose attempts come after pauses."""

    def __init__(self, story) -> None:
        self.story = story
        self.sites: dict[int, Site] = {}

    def begin(self, name="sign", key=None, *, pause=0.0, place=SIGN, caller=1, **asked) -> int:
        """Begin a call so many seconds after the newest event."""
        self.story.wait(pause * 1000 - 1)  # `invoke` lets a millisecond pass
        op = self.story.invoke(name, key, **asked)
        self.sites[op] = Site(place, caller)
        return op

    def call(self, name="sign", key=None, outcome="ok", *, error="HsmBusy", hsm="hsm-1", **asked) -> int:
        """Call, and be answered a millisecond later."""
        op = self.begin(name, key, **asked)
        self.end(op, outcome, error, hsm)
        return op

    def end(self, op, outcome="ok", error="HsmBusy", hsm="hsm-1") -> None:
        self.story.end(op, outcome, **({} if outcome == "ok" else {"error": error, "hsm": hsm}))

    @property
    def check(self) -> HsmCheck:
        return HsmCheck(self.story.history, sites=lambda op: self.sites.get(op, UNKNOWN))

    @property
    def chains(self) -> list[Chain]:
        check = self.check
        found = chains(check.facts(), check._sites)
        return [chain for chain in found if chain.place is not None]


@pytest.fixture
def log(tell):
    return Log(tell())


@pytest.fixture
def key(log):
    return log.story.create("kek")


def shape(found):
    """Return the numbers of the calls of each chain."""
    return [[attempt.op for attempt in chain.attempts] for chain in found]


def test_a_chain_goes_on_until_it_is_ok(log, key):
    """Errors, waits, ends and commands are counted; the next call after an `ok` begins something new."""
    one = log.call(key=key, outcome="fail")
    log.story.write("reach", op=one, point="client.send", name="sign", command="sign", hsm="hsm-1", client="app")
    log.story.write("reach", op=one, point="hsm.receive", name="sign", command="sign", hsm="hsm-1", client="app")
    two = log.call(key=key, outcome="info", error="RequestTimeout", pause=0.5)
    three = log.call(key=key, pause=1)
    four = log.call(key=key, pause=1)
    first, second = log.chains
    assert shape([first, second]) == [[one, two, three], [four]]
    assert first.waits_ns == (500_000_000, 1_000_000_000)
    assert first.elapsed_ns == 1_503_000_000
    assert first.errors == ("HsmBusy", "RequestTimeout")
    assert (first.healed, first.sends, first.place, first.label, first.key) == (True, 1, SIGN, "kek", key)
    assert (first.operation, first.application) == ("sign", "app")


def test_a_process_after_an_unknown_outcome_is_the_same_application(log, key):
    log.call(key=key, outcome="info", client="app")
    log.call(key=key, client="app#2")
    assert [len(chain.attempts) for chain in log.chains] == [2]


@pytest.mark.parametrize(
    "other",
    [
        {"client": "batch"},
        {"name": "encrypt"},
        {"key": "key-2"},
        {"caller": 2},
        {"place": Place("vault.py", 9, "Vault.other", False)},
        {"place": Place("other.py", 7, "Vault.sign", False)},
    ],
    ids=lambda other: next(iter(other)),
)
def test_what_differs_is_no_retry(log, key, other):
    """Another application, operation, key, thread or function."""
    log.story.create("other")
    log.call(key=key, outcome="fail")
    log.call(**{"key": key, "caller": 1, **other})
    log.call(key=key)  # so that the first caller is seen again: its retry is this one
    assert sorted(len(chain.attempts) for chain in log.chains) == [1, 2]


def test_a_retry_may_stand_in_another_line_of_the_function(log, key):
    """`except KeyNotOnHsm: sign(...)` is a retry of the line above; the chain has the place of its first attempt."""
    log.call(key=key, outcome="fail", error="KeyNotOnHsm")
    log.call(key=key, place=SIGN._replace(line=9))
    [chain] = log.chains
    assert (chain.place, len(chain.attempts)) == (SIGN, 2)


def test_a_test_that_calls_again_in_another_line_means_another_call(log, key):
    """Only within one line of a test function does it retry; a helper of the test is like an application."""
    for function, attempts in (("test_it", [1, 1]), ("TestIt.test_it", [1, 1]), ("helper", [2])):
        before = len(log.chains)
        place = Place("test_vault.py", 7, function, True)
        log.call(key=key, outcome="fail", place=place)
        log.call(key=key, place=place._replace(line=9))
        assert [len(chain.attempts) for chain in log.chains[before:]] == attempts


def test_creates_are_the_same_by_label_class_and_kind(log):
    asked = {"name": "generate_key", "label": "dek", "cls": "secret", "key_kind": "AES", "token": True}
    log.call(**asked, outcome="fail")
    log.call(**asked)
    log.call(**asked, outcome="fail")
    log.call(**{**asked, "label": "other"})
    assert [len(chain.attempts) for chain in log.chains] == [2, 1, 1]


def test_logins_are_the_same_by_user(log):
    log.call("login", outcome="fail", error="LoginFailed", args=("alice",))
    log.call("login", args=("bob",))
    assert [len(chain.attempts) for chain in log.chains] == [1, 1]


def test_calls_at_the_same_time_are_not_mixed_up(log, key):
    """Each thread retries its own call, whoever fails first."""
    one, two = log.begin(key=key, caller=1), log.begin(key=key, caller=2)
    log.end(two, "fail")
    log.end(one, "fail")
    three = log.call(key=key, caller=1, pause=1)
    four = log.call(key=key, caller=2, pause=1)
    assert shape(log.chains) == [[one, three], [two, four]]


def test_without_callers_a_call_follows_the_oldest_error(log, key):
    """A call that began before the error is no retry of it."""
    one, two = log.begin(key=key, caller=None), log.begin(key=key, caller=None)
    log.end(one, "fail")
    log.end(two, "fail")
    three, four = log.call(key=key, caller=None), log.call(key=key, caller=None)
    assert shape(log.chains) == [[one, three], [two, four]]


def test_a_task_for_each_attempt_is_one_chain_when_nobody_else_can_be_meant(log, key):
    """`wait_for` makes a task for each attempt; where two could be meant, none is."""
    calls = [log.call(key=key, outcome="fail", caller=caller) for caller in (1, 2, 3)]
    calls.append(log.call(key=key, caller=4))
    assert shape(log.chains) == [calls]
    for caller in (5, 6):
        calls.append(log.begin(key=key, caller=caller))
    for op in calls[-2:]:
        log.end(op, "fail")
    calls.append(log.call(key=key, caller=7))
    assert shape(log.chains) == [calls[:4], *([op] for op in calls[4:])]


def test_a_fixture_of_ours_is_nobody(log, key):
    log.call("login", place=OURS, args=("crypto_user",))
    assert all(chain.operation != "login" for chain in log.chains)


def test_an_open_call_has_not_healed(log, key):
    op = log.begin(key=key)
    [chain] = log.chains
    assert shape([chain]) == [[op]]
    assert (chain.healed, chain.elapsed_ns, chain.attempts[0].outcome) == (False, 0, "open")


def test_a_key_that_was_found_heals_its_create(log):
    """An application that looks and adopts what is there has what it wanted; what another one found is not enough."""

    def create():
        check = log.check
        return chains(check.facts(), check._sites)[0]

    left = log.story.create("dek", outcome="info")
    log.story.find(left, label="dek", client="other")
    assert (create().healed, create().key) == (False, left)
    log.story.find(left, label="dek", client="app#2")
    assert create().healed


@pytest.mark.parametrize("error", ["LoginFailed", "TemplateInvalid", "SignatureInvalid", "UsageError"])
def test_an_error_of_the_call_itself_is_incurable(log, key, error):
    log.call(key=key, outcome="fail", error=error)
    assert log.chains[0].attempts[0].incurable


@pytest.mark.parametrize("error", ["HsmBusy", "HsmUnavailable", "RequestTimeout", "KeyUnavailable", "InjectedError"])
def test_an_error_of_the_cluster_may_heal(log, key, error):
    log.call(key=key, outcome="fail", error=error)
    assert not log.chains[0].attempts[0].incurable


def test_a_key_that_is_gone_does_not_come_back(log, key):
    """A miss heals; a deleted key does not, nor a session key whose session is over: there no HSM was asked."""
    log.call(key=key, outcome="fail", error="KeyNotOnHsm", hsm="hsm-2", pause=1)
    log.call(key=key, outcome="fail", error="KeyNotOnHsm", hsm=None, pause=1)
    log.story.delete(key)
    log.call(key=key, outcome="fail", error="KeyNotOnHsm", hsm="hsm-2", pause=1)
    [chain] = log.chains
    assert [attempt.incurable for attempt in chain.attempts] == [False, True, True]


def test_nobody_who_does_not_log_in_is_somebody(log, key):
    """Without a login between a retry is in vain; an HSM that forgot one is logged in to by the client."""
    log.call(key=key, outcome="fail", error="NotLoggedIn", hsm=None)
    log.call(key=key, outcome="fail", error="NotLoggedIn", hsm=None)
    log.call("login", args=("crypto_user",))
    log.call(key=key, outcome="fail", error="NotLoggedIn", hsm="hsm-1")
    log.call(key=key)
    [chain] = [chain for chain in log.chains if chain.operation == "sign"]
    assert [attempt.incurable for attempt in chain.attempts] == [True, False, False, False]
