"""How is each failure recognised in the evidence about one operation?  One pure function for each.

What an HSM did and what a client heard of it is read from the points that were passed; what the cluster was
like, from the events before.  So a failure counts however it came about: by a fault, a hardship, or by itself.
"""

from collections.abc import Iterator

from ..checkers.operation import CREATES, FAN_OUT
from ..cryptoki import CKR
from ..history.events import BIRTHS, Cause, Event, Kind
from .evidence import DEAD, Evidence

CHANGING = ("delete_key", "share_key", "unshare_key", "set_attribute")
"""Operations that change a key on every HSM that is believed up."""

CHANGING_COMMANDS = (*CREATES, *CHANGING)

SLOW_S = 1.0
"""A call that takes longer is slow (a guess): healthy ones take milliseconds, a create with its copies 0.2 s."""

# -- making keys -----------------------------------------------------------------------


def maker_dies_alone(one: Evidence) -> bool:
    """The HSM that made the key went off or was lost before any other had a copy."""
    return any(not copied for copied in _deaths_of_the_maker(one))


def maker_dies_later(one: Evidence) -> bool:
    """The HSM that made the key went off or was lost before the create ended, and another had a copy by then."""
    return any(_deaths_of_the_maker(one))


def on_one_hsm(one: Evidence) -> bool:
    """The create was `ok` although it had brought the key to one HSM of several, and nobody else to another."""
    copied = any(event.kind is Kind.HELD and event.cause == Cause.CLONE for event in one.changed_in_time())
    return _created(one) and not copied and one.key_after is not None and len(one.key_after.holders) < 2


def copies_missing(one: Evidence) -> bool:
    """The create was `ok` and an HSM that was up lacked the key."""
    return _created(one) and one.key_after is not None and bool(one.key_after.lacking)


def too_few_copies(one: Evidence) -> bool:
    """SDK 3's client counted too few copies."""
    return one.error == "TooFewCopies"


def leftover_marked(one: Evidence) -> bool:
    """A leftover was marked for deletion because it could not be deleted."""
    return any(event.kind is Kind.TOMBSTONED and event.cause == Cause.CLEANUP for event in one.changes)


def orphan_left(one: Evidence) -> bool:
    """The create was refused for want of copies, and one was neither removed nor tombstoned."""
    refused = one.error in ("TooFewCopies", "KeyUnavailable")
    return refused and bool(_births(one)) and one.key_after is not None and bool(one.key_after.partly)


def check_refused(one: Evidence) -> bool:
    return one.error == "KeyUnavailable"


def made_during_join(one: Evidence) -> bool:
    """An HSM was joining when the create began, so it got no copy."""
    return "joining" in one.before.values() and bool(_births(one))


def hsm_full(one: Evidence) -> bool:
    """The HSM that was to make the key had no room for it."""
    return one.error == "KeyCapacityReached" and one.name in CREATES


# -- answers ---------------------------------------------------------------------------


def timed_out(one: Evidence) -> bool:
    """No answer came in time, to the operation or to a part of it."""
    return one.error == "RequestTimeout" or any(exchange.timed_out for exchange in one.exchanges)


def connection_lost(one: Evidence) -> bool:
    """An HSM closed the connection, or refused one, while it was asked for something."""
    return any(exchange.reset for exchange in one.exchanges)


def answer_lost(one: Evidence) -> bool:
    """Something was changed, its answer never came, and the application was told that nobody knows."""
    unheard = any(e.done and e.silent and e.command in CHANGING_COMMANDS for e in one.exchanges)
    return unheard and _unknown(one) and any(one.changed_in_time())


def done_late(one: Evidence) -> bool:
    """A request was carried out after the application had been told that nobody knows."""
    return _unknown(one) and any(_own(event) for event in one.changed_late())


def error_though_done(one: Evidence) -> bool:
    """An error was answered, and the key was made or changed all the same."""
    told = any(e.done and any(spec.startswith("fail ") for spec in e.struck) for e in one.exchanges)
    return told and _unknown(one) and any(one.changed_in_time())


def half_done(one: Evidence) -> bool:
    """Some HSMs carried out a change and others failed, so the application was told that nobody knows."""
    return one.name in CHANGING and one.outcome == "info" and any(e.done and e.heard for e in one.exchanges)


def busy(one: Evidence) -> bool:
    """An HSM answered that it was too busy, whether or not the SDK tried again by itself."""
    return any(exchange.busy for exchange in one.exchanges)


def busy_told(one: Evidence) -> bool:
    return one.error == "HsmBusy"


def single_error(one: Evidence) -> bool:
    """An HSM answered one request with an error that says nothing of the request."""
    passing = one.error in ("InjectedError", "HsmUnavailable") and one.outcome == "fail" and one.hsm is not None
    return passing and any(spec.startswith("fail ") for spec in one.struck)


def all_unreachable(one: Evidence) -> bool:
    return one.error == "HsmUnavailable" and one.hsm is None


def slow(one: Evidence) -> bool:
    """It took more than a second of simulated time, however it ended."""
    return one.seconds > SLOW_S


def application_died(one: Evidence) -> bool:
    return one.error == "ApplicationDied"


# -- routed to an HSM --------------------------------------------------------------------


def missed(one: Evidence) -> bool:
    """The HSM that was asked lacked the token key, and another one held it."""
    there = one.key_after
    if one.error != "KeyNotOnHsm" or one.hsm is None or there is None or one.name in FAN_OUT:
        return False
    return there.token and not one.deleted and any(hsm != one.hsm for hsm in there.holders)


def missed_on_new_hsm(one: Evidence) -> bool:
    """The HSM that lacked the key had joined from a snapshot without it."""
    return missed(one) and one.joined_since


def not_yet_everywhere(one: Evidence) -> bool:
    """The key was used while an HSM that was up lacked it."""
    there = one.key_before
    return there is not None and there.token and bool(there.holders) and bool(there.lacking)


def key_lost(one: Evidence) -> bool:
    """A token key was used that no HSM held any more, and that nobody had deleted."""
    gone = one.key_after is not None and one.key_after.token and not one.key_after.holders
    return one.error in ("KeyNotOnHsm", "KeyUnavailable") and not _births(one) and gone and not one.deleted


def key_deleted(one: Evidence) -> bool:
    """A key was used that somebody had deleted, or was just deleting."""
    return one.error == "KeyNotOnHsm" and one.deleted and one.name != "delete_key"


def session_key_gone(one: Evidence) -> bool:
    """A session key was used that had ended with its session or its HSM."""
    return one.error == "KeyNotOnHsm" and one.key_after is not None and not one.key_after.token


# -- fewer HSMs ----------------------------------------------------------------------------


def hsm_off(one: Evidence) -> bool:
    """An HSM that had run before did not run when the operation began."""
    return _running(one) < one.most


def last_hsm(one: Evidence) -> bool:
    """Of several HSMs one was left when the operation began."""
    return _running(one) == 1 < one.most


# -- changes and deletes ----------------------------------------------------------------------


def delete_missed(one: Evidence) -> bool:
    """A delete was `ok`, and an HSM that it did not reach still held the key."""
    return (
        one.name == "delete_key" and one.outcome == "ok" and one.key_after is not None and bool(one.key_after.holders)
    )


def change_missed(one: Evidence) -> bool:
    """A share or an attribute was changed `ok`, and an HSM that was not reached kept the old state."""
    shared = one.name in CHANGING and one.name != "delete_key" and one.outcome == "ok"
    return shared and one.key_after is not None and one.key_after.differ


def copies_differ(one: Evidence) -> bool:
    """A key was used whose copies differed in attributes or shares."""
    return one.key_before is not None and one.key_before.differ


def came_back(one: Evidence) -> bool:
    """A key was found or used although a delete of it had been `ok` before."""
    return bool(one.revenants)


# -- looking for keys -----------------------------------------------------------------------------


def find_incomplete(one: Evidence) -> bool:
    """A find by label did not show a key that only HSMs had which it could not reach."""
    return bool(one.hidden)


def find_twins(one: Evidence) -> bool:
    """A find showed two keys of one label and kind."""
    return one.twins


def find_orphan(one: Evidence) -> bool:
    """A find showed a key whose create had failed, or had an unknown outcome."""
    return bool(one.strangers)


# -- logging in ---------------------------------------------------------------------------------------


def login_lost(one: Evidence) -> bool:
    return one.error == "NotLoggedIn"


def account_drifted(one: Evidence) -> bool:
    """At a login the account was not the same on every HSM: one refused it and another did not, or would not have."""
    if one.name != "login":
        return False
    tried = [exchange for exchange in one.exchanges if exchange.command == "login"]
    mixed = any(e.done for e in tried) and any(e.refused and not e.busy and not e.struck for e in tried)
    return mixed or one.drifted or (_login_refused(one) and one.joined_since)


def account_locked(one: Evidence) -> bool:
    return one.error == "AccountLocked"


def login_refused(one: Evidence) -> bool:
    return one.name == "login" and _login_refused(one)


def sessions_used_up(one: Evidence) -> bool:
    return one.error == "SessionLimitReached"


# -- inside ----------------------------------------------------------------------------------------------


def _births(one: Evidence) -> list[Event]:
    return [e for e in one.changes if e.kind is Kind.HELD and e.token and e.cause in BIRTHS]


def _created(one: Evidence) -> bool:
    return one.outcome == "ok" and one.hsms > 1 and bool(_births(one))


def _deaths_of_the_maker(one: Evidence) -> Iterator[bool]:
    """Yield, for each death of the HSM that made the key, whether another HSM had a copy by then."""
    births = _births(one)
    for index, hsm, _ in one.deaths:
        if births and hsm == births[0].hsm and index > births[0].index:
            yield any(e.kind is Kind.HELD and e.cause == Cause.CLONE and e.index < index for e in one.changes)


def _own(event: Event) -> bool:
    """Whether a change is what the application asked for, not a copy or a cleanup."""
    return event.kind in (Kind.ATTRIBUTE, Kind.SHARE) or event.cause in (*BIRTHS, Cause.DELETE)


def _unknown(one: Evidence) -> bool:
    """Whether nobody knows what came of it, for another reason than too few copies or the end of the application."""
    return one.outcome == "info" and one.error not in ("TooFewCopies", "KeyUnavailable", "ApplicationDied", "Cancelled")


def _running(one: Evidence) -> int:
    return sum(state not in (*DEAD, "joining") for state in one.before.values())


def _login_refused(one: Evidence) -> bool:
    return one.error == "LoginFailed" and one.ended is not None and one.ended.ckr != CKR.USER_ALREADY_LOGGED_IN
