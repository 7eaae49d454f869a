"""What do kills at random points leave behind, in how many of a thousand cases?  python -m benchmarks.kills [N] [SEED]

Three applications make, share, rename and delete keys at the same time, on three HSM processes.  In each round one HSM
is killed meanwhile: half of them at a step of some command (a fault), half at an instant that nobody chose, from a
thread that has counted to a random number.  After each kill SQLite opens a copy of every disk, the mirrors are held
against the disks, and every acknowledged key is looked for.  Then the HSM is started again, or replaced.  At the end of
each story the orphans and lost keys on the disks are held against those that the checks name.
"""

import os
import random
import signal
import statistics
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from typing import Any, Literal

from benchmarks.disks import Keys, Ledger, Wrong, check_mirror, check_named, keys_on
from pytest_hsmcluster import CKA, Client, ClusterError, HsmCluster, HsmState, KeyHandle, NotLoggedIn
from pytest_hsmcluster.processes.mirror import HsmMirror

POINTS = ("hsm.receive", "hsm.authorize", "hsm.execute", "hsm.commit", "hsm.reply")
COMMANDS = ("generate_key", "extract_masked", "insert_masked", "delete_key", "share_key", "set_attribute")
TURNS = 1_500_000
"""How far a killer counts at most: some 50 ms, about as long as a round takes."""

IN_STORY = 25
CALLS = 4
RATE = 20.0


@dataclass
class Tally:
    """What was seen in many kills.

    Attributes:
        kills: how and where → how many.
        looks_s: how long it took to look at everything after each kill.
        returns_s: how long it took until a killed HSM was up again.
        told: what applications were told → how often.
        orphans, lost, keys: how many were left at the ends of all stories.
        orphans_s: how long each search for orphans took.
    """

    kills: Counter[str] = field(default_factory=Counter)
    looks_s: list[float] = field(default_factory=list)
    returns_s: list[float] = field(default_factory=list)
    told: Counter[str] = field(default_factory=Counter)
    orphans: int = 0
    lost: int = 0
    keys: int = 0
    replaced: int = 0
    orphans_s: list[float] = field(default_factory=list)

    @property
    def killed(self) -> int:
        """How many HSM processes have been killed."""
        return sum(self.kills.values())


class Story:
    """One cluster, its applications, and one kill after the other.

    Args:
        seed: of all choices; instants are those of the machine.
        sdk: 3 (with a minimum of two copies) or 5 (with its availability check).
        tally: is added to.
        overrides: fields of the profile.

    Attributes:
        cluster: it is closed by `end`.
        ledger: what the applications were told.
    """

    def __init__(self, seed: int, sdk: Literal[3, 5], tally: Tally, **overrides: Any) -> None:
        self._dice = random.Random(seed)
        self._sdk = sdk
        self._tally = tally
        self._gone: list[str] = []
        self.ledger = Ledger()
        self.cluster = HsmCluster(
            3,
            sdk=sdk,
            create_object_minimum_nodes=2 if sdk == 3 else None,
            seed=seed,
            network="processes",
            clock_rate=RATE,
            join_snapshot_s=0.5,
            join_active_s=1,
            **overrides,
        )
        self.cluster.create_user("bob", "bobs-password")
        self._apps = [self.cluster.client(name) for name in ("app", "batch", "web")]
        self._pool = ThreadPoolExecutor(len(self._apps))

    def round(self) -> None:
        """Kill one HSM while the applications work, look at everything, and bring it back.

        Raises:
            Wrong: something was lost, kept or invented.
        """
        victim = self._dice.choice([hsm.id for hsm in self.cluster.hsms if hsm.state is HsmState.UP])
        with ExitStack() as troubles:
            if self._dice.random() < (0.15 if self._sdk == 3 else 0.01):
                troubles.enter_context(self.cluster.chaos.fail_clone()).injections[0].may_miss = True
                if self._dice.random() < 0.5:
                    troubles.enter_context(self.cluster.chaos.fail_cleanup()).injections[0].may_miss = True
            if self._dice.random() < 0.5:
                self._kill_at_a_point(victim)
            else:
                self._kill_at_an_instant(victim)
        began = time.perf_counter()
        self.look()
        self._tally.looks_s.append(time.perf_counter() - began)
        self._bring_back(victim)
        if self._dice.random() < 0.3:
            with suppress(ClusterError):
                self.cluster.sweep_now()

    def look(self) -> dict[str, Keys]:
        """Open every disk, hold the mirrors against them, look for every key, and return what is on the disks."""
        disks = {}
        for hsm in self._members():
            disks[hsm.id] = self.read(hsm)
            check_mirror(hsm, disks[hsm.id])
        self.ledger.check(disks, self._gone)
        return disks

    def read(self, hsm: HsmMirror) -> Keys:
        """Return what is on the disk of an HSM."""
        return keys_on(hsm._home.folder(hsm.id), self.cluster.service.world.masking_key)

    def end(self) -> None:
        """Hold what the checks name against what is on the disks, and close the cluster, which does the same its way.

        Raises:
            Wrong: the checks name other orphans or lost keys.
        """
        try:
            disks = self.look()
            began = time.perf_counter()
            named = [finding.handle for finding in self.cluster.check.orphan_keys()]
            self._tally.orphans_s.append(time.perf_counter() - began)
            orphans, lost = self.ledger.orphans(disks), self.ledger.lost()
            check_named("orphan_keys()", orphans, named)
            check_named("lost_keys()", lost, [finding.handle for finding in self.cluster.check.lost_keys()])
            self._tally.orphans += len(orphans)
            self._tally.lost += len(lost)
            self._tally.keys += len({handle for keys in disks.values() for handle in keys})
        finally:
            self.close()

    def close(self) -> None:
        """End everything."""
        self._pool.shutdown()
        self.cluster.close()

    # -- killing ------------------------------------------------------------------------------

    def _kill_at_a_point(self, victim: str) -> None:
        if self._dice.random() < 0.5:
            which = f"nth={self._dice.randint(1, 12)}"
        else:
            which = f"command={self._dice.choice(COMMANDS)} nth=1"
        point = self._dice.choice(POINTS)
        spec = f"crash @ {point} hsm={victim} {which}"
        with self.cluster.chaos.inject(spec, may_miss=True) as fault:
            self._work()
        if not fault.hits:
            self._kill(victim)
        self._tally.kills[f"at {point}" if fault.hits else "between two calls"] += 1
        self._wait_for_the_end_of(victim)

    def _kill_at_an_instant(self, victim: str) -> None:
        turns = self._dice.randrange(TURNS)

        def kill() -> None:
            for _ in range(turns):
                pass
            self._kill(victim)

        killer = threading.Thread(target=kill)
        killer.start()
        self._work()
        killer.join()
        self._tally.kills["at an instant"] += 1
        self._wait_for_the_end_of(victim)

    def _kill(self, victim: str) -> None:
        pid = self._mirror(victim).pid
        assert pid is not None, f"{victim} was killed twice"
        os.kill(pid, signal.SIGKILL)

    def _wait_for_the_end_of(self, victim: str) -> None:
        while self.cluster.hsm(victim).alive:
            self.cluster.clock.advance(0.01)

    def _bring_back(self, victim: str) -> None:
        began = time.perf_counter()
        if self._dice.random() < 0.05:
            new = self.cluster.chaos.replace(victim).replacement
            assert new is not None
            self._gone.append(victim)
            self._tally.replaced += 1
            while new.state is HsmState.JOINING:
                self.cluster.clock.advance(0.1)
            assert new.state is HsmState.UP, f"{new.id} did not join"
        else:
            self.cluster.chaos.restart(victim)
            self._tally.returns_s.append(time.perf_counter() - began)
            if self._dice.random() < 0.5:
                self.cluster.clock.advance(
                    4
                )  # applications are connected again; else they meet the next kill without it

    def _mirror(self, hsm: str) -> HsmMirror:
        found = self.cluster.hsm(hsm)
        assert isinstance(found, HsmMirror)
        return found

    def _members(self) -> Iterator[HsmMirror]:
        for hsm in self.cluster.hsms:
            if hsm.state is not HsmState.JOINING:
                yield self._mirror(hsm.id)

    # -- working ------------------------------------------------------------------------------

    def _work(self) -> None:
        """Have all applications work at the same time, until each has made its calls."""
        seeds = [self._dice.random() for _ in self._apps]
        running = [
            self._pool.submit(self._call, app, random.Random(seed)) for app, seed in zip(self._apps, seeds, strict=True)
        ]
        for one in running:
            one.result()

    def _call(self, app: Client, dice: random.Random) -> None:
        for _ in range(CALLS):
            act: Any = dice.choice((self._make, self._make, self._make_pair, self._share, self._rename, self._delete))
            if dice.random() < 0.1:
                act = self._find
            try:
                act(app, dice)
                said = "ok"
            except NotLoggedIn:
                said = "NotLoggedIn"
                with suppress(ClusterError):
                    app.login(self.cluster.default_user, self.cluster.default_password)
            except ClusterError as error:
                said = f"{type(error).__name__} ({error.outcome})"
            self._tally.told[said] += 1

    def _make(self, app: Client, dice: random.Random) -> None:
        self.ledger.made(app.generate_key("AES", 256, label=_label(dice)).number)

    def _make_pair(self, app: Client, dice: random.Random) -> None:
        pair = app.generate_key_pair("EC", "secp256r1", label=_label(dice))
        for key in (pair.public, pair.private):
            self.ledger.made(key.number)

    def _share(self, app: Client, dice: random.Random) -> None:
        if (key := self._chosen(dice)) is not None:
            if dice.random() < 0.7:
                app.share_key(key, with_user="bob")
            else:
                app.unshare_key(key, with_user="bob")
            self.ledger.used(key.number)

    def _rename(self, app: Client, dice: random.Random) -> None:
        if (key := self._chosen(dice)) is not None:
            app.set_attribute(key, CKA.LABEL, _label(dice))
            self.ledger.used(key.number)

    def _delete(self, app: Client, dice: random.Random) -> None:
        if (key := self._chosen(dice)) is not None:
            self.ledger.removals[key.number] += 1
            try:
                app.delete_key(key)
            except ClusterError as error:
                if error.outcome == "fail":
                    self.ledger.removals[key.number] -= 1
                raise

    def _find(self, app: Client, dice: random.Random) -> None:
        for key in app.find_keys(label=_label(dice)):
            self.ledger.found(key.number)

    def _chosen(self, dice: random.Random) -> KeyHandle | None:
        handles = self.ledger.usable()
        if not handles:
            return None
        return KeyHandle(dice.choice(handles), "", "AES", True, "secret", self.cluster.id)


def _label(dice: random.Random) -> str:
    return f"label {dice.randrange(50)}"


def run(kills: int, seed: int) -> Tally:
    """Return what was seen in so many kills.

    Raises:
        Wrong: something was lost, kept or invented.
    """
    tally = Tally()
    for number in range(-(-kills // IN_STORY)):
        story = Story(seed * 1_000_000 + number, 3 if number % 2 == 0 else 5, tally)
        try:
            for _ in range(min(IN_STORY, kills - tally.killed)):
                story.round()
        except BaseException:
            story.close()
            raise
        story.end()
        if sys.stderr.isatty():
            print(f"\r{tally.killed} of {kills} kills", end="", file=sys.stderr)
    return tally


def told(tally: Tally, took_s: float) -> str:
    """Return a tally in words."""
    kills = ", ".join(f"{count} {how}" for how, count in sorted(tally.kills.items()))
    words = ", ".join(f"{count} {word}" for word, count in tally.told.most_common())
    return "\n".join(
        (
            f"{tally.killed} HSM processes were killed with SIGKILL in {took_s:.0f} s: {kills}",
            f"    {tally.replaced} of them were replaced by a new HSM, the others started again",
            f"calls: {words}",
            "SQLite opened every disk clean, every mirror was its disk, and no key was lost that any HSM had kept",
            f"looking at everything after a kill took {spread(tally.looks_s)}",
            f"a killed HSM was up again after {spread(tally.returns_s)}",
            f"at the ends {tally.keys} keys were on the disks; {tally.lost} had gone with all HSMs that had them, "
            "and lost_keys() named just these",
            f"{tally.orphans} were orphans, and orphan_keys() named just these, in {spread(tally.orphans_s)}",
        )
    )


def spread(durations_s: list[float]) -> str:
    """Return median, the middle nine tenths, and the longest, in ms."""
    if len(durations_s) < 2:
        return "no time that could be measured"
    parts = statistics.quantiles(durations_s, n=20)
    return (
        f"{statistics.median(durations_s) * 1e3:.1f} ms ({parts[0] * 1e3:.1f} … {parts[-1] * 1e3:.1f}, "
        f"at most {max(durations_s) * 1e3:.1f})"
    )


def main() -> None:
    """Kill, and print."""
    kills = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else 1
    began = time.perf_counter()
    try:
        tally = run(kills, seed)
    except Wrong as wrong:
        sys.exit(f"seed {seed}: {wrong}")
    print(told(tally, time.perf_counter() - began))


if __name__ == "__main__":
    main()
