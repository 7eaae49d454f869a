"""Which promises can a test ask for, and by what name?"""

import difflib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from ..errors import UsageError
from ..history.history import History
from ..history.places import UNKNOWN, Site
from . import (
    convergence,
    durability,
    exposure,
    identity,
    isolation,
    library_handles,
    linearizability,
    openability,
    orphans,
    resurrection,
    retries,
    routing,
    staleness,
)
from .attempts import chains
from .exposure import Exposure
from .facts import Facts
from .linearizability import Linearizability
from .retry_report import RetryReport, retry_report
from .verdict import Backups, Finding, require_none


class HsmCheck:
    """Assertions about what happened to the keys of one cluster.

    Each check returns nothing, or raises AssertionError with one finding a line; its list twin returns the findings.
    A check reads the history as far as it goes: it never moves time and writes no event.

    Args:
        history: of a live cluster, or loaded from a file.
        backups: id of a backup → names of the keys in it, or what returns that; causes mention them.
        sites: number of an operation → who called it; without it a history does not know.
    """

    def __init__(
        self,
        history: History,
        *,
        backups: Backups | Callable[[], Backups] | None = None,
        sites: Callable[[int], Site] | None = None,
    ) -> None:
        self.history = history
        self._backups = backups
        self._sites: Callable[[int], Site] = sites or (lambda _: UNKNOWN)
        self._facts: Facts | None = None
        self.outlived: list[str] = []
        """What an application has kept for too long, as the PKCS#11 library tells it: sessions, slots, objects."""
        self.exposed_ns: list[int] | None = None
        """How long keys were exposed when somebody asked last; None if nobody did."""

    def __repr__(self) -> str:
        return f"<HsmCheck of {len(self.history)} events>"

    # -- checks ----------------------------------------------------------------------

    def durable(self, copies: int | None = None, survive: int = 1) -> None:
        """Every acknowledged key is on at least max(`copies`, `survive` + 1) running HSMs.

        Raises:
            AssertionError: a key is at risk.
            UsageError: `copies` is no integer ≥ 1, or `survive` none ≥ 0.
        """
        __tracebackhide__ = True
        require_none(self.at_risk_keys(copies, survive))

    def no_lost_keys(self) -> None:
        """No acknowledged key is gone from every HSM.

        Raises:
            AssertionError: a key is lost.
        """
        __tracebackhide__ = True
        require_none(self.lost_keys())

    def no_orphan_keys(self) -> None:
        """No HSM holds a key of a create that has ended and that nobody was told of.

        Raises:
            AssertionError: a key is an orphan.
        """
        __tracebackhide__ = True
        require_none(self.orphan_keys())

    def no_resurrected_keys(self) -> None:
        """No key whose delete was ok is back.

        Raises:
            AssertionError: a key is resurrected.
        """
        __tracebackhide__ = True
        require_none(self.resurrected_keys())

    def misses_retried(self, within: float | None = None) -> None:
        """Each call that met an HSM without the key was tried again with success, `within` so many seconds.

        Raises:
            AssertionError: a routing miss was left.
            UsageError: `within` is no number ≥ 0.
        """
        __tracebackhide__ = True
        require_none(routing.unretried_misses(self.facts(), within))

    def no_duplicate_labels(self, strict: bool = False) -> None:
        """No create with an unknown outcome left a second key with the same label; `strict`: no second key at all.

        Raises:
            AssertionError: a key is a duplicate.
        """
        __tracebackhide__ = True
        require_none(self.duplicate_labels(strict))

    def in_sync(self) -> None:
        """All up HSMs hold the same token keys with the same attributes, owners and shares, and no deleted key lingers.

        Raises:
            AssertionError: HSMs differ.
        """
        __tracebackhide__ = True
        require_none(self.differences())

    def session_keys_stay_put(self) -> None:
        """No session key was ever on a second HSM or outlived its session.

        Raises:
            AssertionError: one was, or did.
        """
        __tracebackhide__ = True
        require_none(isolation.stray_session_keys(self.facts()))

    def no_undecryptable_data(self, shredded: bool = False) -> None:
        """Every ciphertext and wrapped key can still be opened.

        Args:
            shredded: also those whose keys were deleted on purpose.

        Raises:
            AssertionError: some cannot.
        """
        __tracebackhide__ = True
        require_none(self.undecryptable_data(shredded))

    def no_stale_handles(self) -> None:
        """No handle was used after its session was over: closed, logged out, or lost with its HSM.

        Handles of session keys; through the PKCS#11 library also object handles of token keys, sessions and slots,
        those of earlier tests too.

        Raises:
            AssertionError: some were.
        """
        __tracebackhide__ = True
        require_none([*self.stale_handles(), *dict.fromkeys(self.outlived)])

    def retries(
        self, max_attempts: int | None = None, max_elapsed: float | None = None, blind_creates: bool = False
    ) -> None:
        """Each retry of the application stayed in its bounds, backed off, and looked before it created again.

        An error that no retry heals has a bound of its own: it is not to be retried in vain.

        Args:
            max_attempts: how often one thing may be tried.
            max_elapsed: simulated seconds from the first attempt to the end of the last.
            blind_creates: True allows it to make a key again, after an unknown outcome, without a `find_keys()` that
                would have shown the first one.

        Raises:
            AssertionError: some did not; each finding names file and line of the call.
            UsageError: `max_attempts` is no integer ≥ 1, `max_elapsed` no number ≥ 0, `blind_creates` no bool.
        """
        __tracebackhide__ = True
        require_none(retries.broken(self.facts(), self.retry_report(), max_attempts, max_elapsed, blind_creates))

    def exposure(self, p99: float | None = None, uses_before_durable: int | None = None) -> None:
        """No acknowledged key was on too few HSMs for longer, or used more often meanwhile, than allowed.

        Too few is fewer than two running HSMs; the time counts from the first copy.  What was asked for is in the
        run's summary, as percentiles.

        Args:
            p99: seconds that 99 of 100 keys may be exposed at most.
            uses_before_durable: how often a key may be used before it is on enough HSMs; without any bound, never.

        Raises:
            AssertionError: a bound is broken.
            UsageError: a bound is no number, or negative.
        """
        __tracebackhide__ = True
        if p99 is None and uses_before_durable is None:
            uses_before_durable = 0
        require_none(exposure.unbearable(self.exposures(), p99, uses_before_durable))

    def linearizable(self, budget: int = linearizability.BUDGET) -> None:
        """The calls on each token key have an order in which each makes sense.

        Where the budget is not enough, nothing is raised: `linearizability()` says `unknown`.

        Args:
            budget: states that the search explores at most.

        Raises:
            AssertionError: some have none.
            UsageError: the budget is no integer above 0.
        """
        __tracebackhide__ = True
        require_none(self.linearizability(budget).findings)

    # -- list twins --------------------------------------------------------------------

    def at_risk_keys(self, copies: int | None = None, survive: int = 1) -> list[Finding]:
        """Return the keys at risk; `.hsms` are the running HSMs that hold the key."""
        needed = durability.copies_needed(copies, survive)
        return durability.at_risk_keys(self.facts(), needed)

    def lost_keys(self) -> list[Finding]:
        """Return the lost keys; `.hsms` are the HSMs that held the key."""
        return durability.lost_keys(self.facts(), self.backups())

    def orphan_keys(self) -> list[Finding]:
        """Return the orphans; `.hsms` are the HSMs that hold the key."""
        return orphans.orphan_keys(self.facts())

    def resurrected_keys(self) -> list[Finding]:
        """Return the resurrected keys; `.hsms` are the HSMs on which the key is back."""
        return resurrection.resurrected_keys(self.facts())

    def routing_misses(self) -> list[Finding]:
        """Return all routing misses, retried or not; `.hsms` is the HSM that was asked."""
        return routing.routing_misses(self.facts())

    def duplicate_labels(self, strict: bool = False) -> list[Finding]:
        """Return one finding for each key too many; `.hsms` are the HSMs that hold it."""
        return identity.duplicate_labels(self.facts(), strict=strict)

    def differences(self) -> list[Finding]:
        """Return what up HSMs differ in; `.hsms` are those that lack the key or have the rarer value."""
        return convergence.differences(self.facts())

    def undecryptable_data(self, shredded: bool = False) -> list[Finding]:
        """Return one finding for each ciphertext or wrapped key; it is about the key that the data died with."""
        return openability.undecryptable_data(self.facts(), shredded=shredded)

    def stale_handles(self) -> list[Finding]:
        """Return one finding for each stale handle and line that used it; `.hsms` is the HSM on which the key lived."""
        facts = self.facts()
        return [*staleness.stale_handles(facts, self._sites), *library_handles.stale_uses(facts, self._sites)]

    def retry_report(self) -> RetryReport:
        """Return how the application retries: `.sites`, a row for each line, and `.chains`; printed, it is a table."""
        return retry_report(chains(self.facts(), self._sites))

    def exposures(self) -> list[Exposure]:
        """Return the exposure of each acknowledged key: `.since_ns`, `.until_ns`, `.lasted_ns`, `.uses`, `.enough`."""
        found = exposure.exposures(self.facts())
        self.exposed_ns = [one.lasted_ns for one in found]
        return found

    def linearizability(self, budget: int = linearizability.BUDGET) -> Linearizability:
        """Return the verdict of the search, with findings, undecided keys and states explored."""
        return linearizability.linearizability(self.facts(), budget)

    # -- by name -------------------------------------------------------------------------

    def run(self, name: str, extra: "Mapping[str, Callable[[History], None]] | None" = None) -> None:
        """Run a check by its name, with its defaults.

        Args:
            name: a key of `CHECKS` or of `extra`.
            extra: checks of other packages: each takes the history and raises AssertionError.

        Raises:
            AssertionError: the promise is broken.
            UsageError: there is no such check, or `extra` gives one of ours another meaning.
        """
        __tracebackhide__ = True
        extra = extra or {}
        if name in CHECKS and name in extra:
            raise UsageError(f"check {name!r} is ours already; another package must choose another name")
        if name in CHECKS:
            CHECKS[name].run(self)
        elif name in extra:
            extra[name](self.history)
        else:
            names = [*CHECKS, *extra]
            near = difflib.get_close_matches(str(name), names, n=1, cutoff=0.5)
            hint = f" (did you mean {near[0]!r}?)" if near else ""
            raise UsageError(f"unknown check {name!r}{hint}; checks are {', '.join(names)}")

    def facts(self) -> Facts:
        """Return the index of the history up to now; only new events are read."""
        if self._facts is None:
            self._facts = Facts(self.history)
        return self._facts.catch_up()

    def backups(self) -> Backups:
        """Return the backups as they are now."""
        return self._backups() if callable(self._backups) else self._backups or {}


@dataclass(frozen=True, slots=True)
class Check:
    """A check that has a name.

    Attributes:
        line: what holds when it passes, in one line.
        run: runs it with its defaults.
    """

    line: str
    run: Callable[[HsmCheck], None]


CHECKS: Mapping[str, Check] = MappingProxyType(
    {
        "durable": Check("every acknowledged key is on two running HSMs or more", HsmCheck.durable),
        "no_lost_keys": Check("no acknowledged key is gone from every HSM", HsmCheck.no_lost_keys),
        "no_orphan_keys": Check("no key is left of a create that nobody was told of", HsmCheck.no_orphan_keys),
        "no_resurrected_keys": Check("no deleted key is back", HsmCheck.no_resurrected_keys),
        "misses_retried": Check("each call that missed its key was retried with success", HsmCheck.misses_retried),
        "no_duplicate_labels": Check("no retry made a second key with the same label", HsmCheck.no_duplicate_labels),
        "in_sync": Check("all up HSMs hold the same token keys, attributes, owners and shares", HsmCheck.in_sync),
        "session_keys_stay_put": Check(
            "no session key was on a second HSM or outlived its session", HsmCheck.session_keys_stay_put
        ),
        "no_undecryptable_data": Check(
            "every ciphertext and wrapped key can still be opened", HsmCheck.no_undecryptable_data
        ),
        "no_stale_handles": Check("no handle was used after its session or its login", HsmCheck.no_stale_handles),
        "retries": Check("each retry backed off, and looked before it created again", HsmCheck.retries),
        "exposure": Check("no key was used before it was on two running HSMs", HsmCheck.exposure),
        "linearizable": Check("the calls on each key have an order in which each makes sense", HsmCheck.linearizable),
    }
)
"""Checks by name: what the marker's `checks=` takes and `--hsm-list=checks` prints."""
