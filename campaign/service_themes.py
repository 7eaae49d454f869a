"""What do the service, the network and time do in stories whose end is known beforehand?

Each theme is one promise of the documentation, made to happen; who is struck varies with the seed.
"""

from collections.abc import Iterator

from pytest_hsmcluster import HsmCluster
from pytest_hsmcluster.errors import RequestTimeout
from pytest_hsmcluster.sim.entropy import Stream

from .staging import FOUR, THREE, Theme, cluster, differs, holders, met


def sweep(dice: Stream) -> Iterator[str]:
    """A round brings a key to every HSM that is up and can be reached by a holder, now or in a later round."""
    hsm = dice.choice(THREE[1:])
    others = [other for other in THREE if other != hsm]
    for obstacle in ("partition", "pause", "crash"):
        with cluster() as one:
            app = one.client()
            with one.chaos.fail_clone(hsm):
                key = app.generate_key("AES", 256, label="k")
            if obstacle == "partition":
                troubles = [one.chaos.partition(other, hsm) for other in others]
            else:
                troubles = [getattr(one.chaos, obstacle)(hsm)]
            one.sweep_now()
            yield from differs(f"holders after a round during a {obstacle} of {hsm}", holders(one, key), others)
            for trouble in troubles:
                trouble.end()
            one.sweep_now()
            yield from differs(f"holders after a round after the {obstacle} of {hsm}", holders(one, key), THREE)


def late_copy(dice: Stream) -> Iterator[str]:
    """A copy that is late does not come to an HSM that went off meanwhile."""
    hsm = dice.choice(THREE[1:])
    with cluster() as one:
        app = one.client()
        with one.chaos.fail_clone(hsm):
            key = app.generate_key("AES", 256, label="k")
        one.chaos.inject("delay 30s @ sync.clone")
        one.chaos.install(f"{dice.choice(('crashed-hsm', 'gray-failure'))} hsm={hsm} during=5s..10m")
        one.sweep_now()
        yield from differs("holders after a late copy", holders(one, key), [other for other in THREE if other != hsm])


def sweep_in_time(dice: Stream) -> Iterator[str]:
    """A round that is due at the very end of a time that passes is made."""
    with cluster(sweep=True, sweep_period_s=60) as one:
        app = one.client()
        with one.chaos.fail_clone():
            key = app.generate_key("AES", 256, label="k")
        one.clock.advance((60_000_000_000 - one.clock.now_ns) / 1e9)
        yield from differs("holders at the instant of the first round", holders(one, key), THREE)


def joining(dice: Stream) -> Iterator[str]:
    """A key that is made while an HSM joins comes to it with the next round."""
    with cluster(2, sweep=True) as one:
        app = one.client()
        old = app.generate_key("AES", 256, label="old")
        joined = one.add_hsm("c")
        one.clock.advance(40 + dice.below(200))
        new = app.generate_key("AES", 256, label="new")
        one.clock.advance(400)
        one.sweep_now()
        yield from differs("keys of an HSM that joined", sorted(joined.keys), sorted((old.number, new.number)))


def restoring(dice: Stream) -> Iterator[str]:
    """Where no HSM lives, one that joins starts from the newest backup."""
    with cluster(2) as one:
        app, keys = one.client(), []
        for number in range(2 + dice.below(2)):
            keys.append(app.generate_key("AES", 256, label=f"k{number}").number)
            one.backup()
        lost = app.generate_key("AES", 256, label="lost")
        for hsm in ("hsm-1", "hsm-2"):
            one.chaos.destroy(hsm)
        joined = one.add_hsm("a")
        one.clock.advance(400)
        yield from differs("keys restored from the newest backup", sorted(joined.keys), keys)
        yield from differs("keys lost", [finding.handle for finding in one.check.lost_keys()], [lost.number])


def partitions(dice: Stream) -> Iterator[str]:
    """A partition cuts the ways that it says, and its end mends them."""
    ways = {
        "both": ("app", "hsm-1", "both"),
        "to the HSM": ("app", "hsm-1", "one-way"),
        "to the application": ("hsm-1", "app", "one-way"),
    }
    for way, arguments in ways.items():
        with cluster() as one:
            app = one.client()
            cut = one.chaos.partition(*arguments)
            came = met(app.generate_key, "AES", 256, label="k")
            made = bool(one.hsm("hsm-1").keys)
            yield from differs(f"a create, cut {way}", came, f"{RequestTimeout.__name__} info")
            yield from differs(f"whether it was done, cut {way}", made, way == "to the application")
            yield from differs("how long it took", one.clock.now_ns >= 20_000_000_000, True)
            cut.end()
            one.clock.advance(10)
            began = len(one.history.records)
            key = app.generate_key("AES", 256, label="healed")
            yield from differs("holders of a key made after the partition", holders(one, key), THREE)
            asked = [r[6] for r in one.history.records[began:] if r[0] == "reach" and r[3] == "hsm.receive"]
            yield from differs("whether hsm-1 is asked again", "hsm-1" in asked, True)


def held_request(dice: Stream) -> Iterator[str]:
    """A request that is held beyond the client's time-out is executed when it is let go."""
    with cluster(1) as one:
        app = one.client()
        injection = one.chaos.inject("hold @ wire.request op=generate_key nth=1")
        came = met(app.generate_key, "AES", 256, label="late")
        yield from differs("a create that is held", came, f"{RequestTimeout.__name__} info")
        yield from differs("keys while it is held", len(one.hsm("hsm-1").keys), 0)
        injection.release() if dice.below(2) else injection.remove()
        one.clock.run_until_idle()
        yield from differs("keys after it was let go", len(one.hsm("hsm-1").keys), 1)


def last_moment(dice: Stream) -> Iterator[str]:
    """An answer that arrives at the very instant of the deadline is in time; a nanosecond later is too late."""
    for late, meant in (("19.998s", "ok"), ("19.998000001s", f"{RequestTimeout.__name__} info")):
        with cluster(1) as one:
            app = one.client()
            point = dice.choice(("wire.request", "wire.response", "hsm.execute"))
            one.chaos.inject(f"delay {late} @ {point} op=random nth=1")
            yield from differs(f"an answer that is {late} late", met(app.random, 1), meant)


def two_of_a_kind(dice: Stream) -> Iterator[str]:
    """Of two hardships of one kind on an HSM the end of one leaves the other in force."""
    for kind in ("crash", "throttle", "fill", "partition"):
        with cluster(2) as one:
            one.client()
            arguments = ("app", "hsm-1") if kind == "partition" else ("hsm-1",)
            first, second = (getattr(one.chaos, kind)(*arguments) for _ in range(2))
            for trouble, meant in ((first, True), (second, False)):
                trouble.end()
                yield from differs(f"whether hsm-1 still suffers from two of {kind}", _suffers(one, kind), meant)


def _suffers(one: HsmCluster, kind: str) -> bool:
    hsm = one.hsm("hsm-1")
    signs = {"crash": hsm.state == "down", "throttle": hsm.throttled, "fill": hsm.store.capacity < 100}
    return signs.get(kind, one.network.is_cut("app", "hsm-1"))


def first_come(dice: Stream) -> Iterator[str]:
    """Of two faults that strike at one passage the one that was installed first is performed; both count."""
    with cluster(1) as one:
        app = one.client()
        first = one.chaos.inject("fail KeyNotOnHsm @ hsm.execute op=random nth=1")
        one.chaos.inject("fail CKR_DEVICE_ERROR @ hsm.execute op=random nth=1", may_miss=True)
        told = [met(app.random, 1) for _ in range(2)]
        yield from differs("calls, the first of which two faults strike", told, ["KeyNotOnHsm fail", "ok"])
        yield from differs("hits of the first", first.hits, 1)


def turns(dice: Stream) -> Iterator[str]:
    """Calls go to all HSMs in turn."""
    hsms, times = 2 + dice.below(3), 2
    with cluster(hsms, routing="round_robin") as one:
        app = one.client()
        began = len(one.history.records)
        for _ in range(hsms * times):
            app.random(1)
        asked = [r[6] for r in one.history.records[began:] if r[0] == "reach" and r[3] == "hsm.receive"]
        yield from differs("HSMs that were asked", sorted(asked), sorted(FOUR[:hsms] * times))


def windows(dice: Stream) -> Iterator[str]:
    """The window of a fault counts from when it is installed, and a fault that is taken out strikes no more."""
    with cluster(1) as one:
        app = one.client()
        one.clock.advance(100)
        injection = one.chaos.inject("fail CKR_DEVICE_ERROR @ client.route during=10s..20s")
        told = []
        for _ in range(4):
            told.append(met(app.random, 1))
            one.clock.advance(7)
        yield from differs("calls 0, 7, 14 and 21 s after the fault", told, ["ok", "ok", "HsmUnavailable fail", "ok"])
        injection.remove()
        injection = one.chaos.inject("fail CKR_DEVICE_ERROR @ client.route")
        injection.remove()
        yield from differs("a call after the fault was taken out", met(app.random, 1), "ok")


THEMES: tuple[Theme, ...] = (
    sweep,
    late_copy,
    sweep_in_time,
    joining,
    restoring,
    partitions,
    held_request,
    last_moment,
    two_of_a_kind,
    windows,
    first_come,
    turns,
)
