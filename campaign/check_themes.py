"""What do the checks find in stories whose end is known beforehand?

Each theme is one sentence of the words that the checks are made of, made to happen; who is struck varies with the seed.
"""

from collections.abc import Iterator, Sequence

from pytest_hsmcluster import Finding, HsmCluster
from pytest_hsmcluster.errors import KeyNotOnHsm
from pytest_hsmcluster.sim.entropy import Stream

from .staging import FOUR, THREE, Theme, cluster, differs, met


def labels(findings: Sequence[Finding]) -> list[str]:
    """Return what findings are about."""
    return [finding.label for finding in findings]


def lose_all(one: HsmCluster) -> None:
    """Destroy every HSM."""
    for hsm in list(one.hsms):
        one.chaos.destroy(hsm.id)


def untold_key(dice: Stream) -> Iterator[str]:
    """A key whose answer was lost is an orphan until somebody finds it, and lost only if he relied on it."""
    for adopted in (False, True):
        with cluster() as one:
            app = one.client()
            with one.chaos.lose_response("generate_key"):
                met(app.generate_key, "AES", 256, label="untold")
            one.clock.advance(10)
            yield from differs("orphans", labels(one.check.orphan_keys()), ["untold"])
            found = app.find_keys(label="untold")
            yield from differs("orphans once they are found", labels(one.check.orphan_keys()), [])
            if adopted:
                app.encrypt(found[0], b"data")
            lose_all(one)
            yield from differs("lost keys that were found", labels(one.check.lost_keys()), ["untold"] * adopted)


def leftover(dice: Stream) -> Iterator[str]:
    """What a cleanup left is an orphan, also while its HSM is off; once somebody relies on it, it can be lost."""
    hsm = dice.choice(THREE[1:])
    with cluster(3, create_object_minimum_nodes=2) as one:
        app = one.client()
        one.chaos.fail_clone(next(other for other in THREE[1:] if other != hsm))
        one.chaos.inject(f"drop @ wire.response command=insert_masked hsm={hsm}")
        stuck = one.chaos.fail_cleanup(hsm)
        met(app.generate_key, "AES", 256, label="left")
        stuck.end()
        yield from differs("orphans", [(f.label, f.hsms) for f in one.check.orphan_keys()], [("left", (hsm,))])
        with one.chaos.crash(hsm):
            yield from differs("orphans on an HSM that is off", labels(one.check.orphan_keys()), ["left"])
        one.clock.advance(10)
        found = app.find_keys(label="left")
        met(app.find_keys)
        with one.chaos.route_to(hsm):
            yield from differs("the use of what was left", met(app.encrypt, found[0], b"data"), "ok")
        one.chaos.destroy(hsm)
        yield from differs("lost keys, one of which was left and used", labels(one.check.lost_keys()), ["left"])


def marked(dice: Stream) -> Iterator[str]:
    """A copy that is marked for deletion does not hold its key."""
    with cluster(3, create_object_minimum_nodes=2) as one:
        app = one.client()
        with one.chaos.fail_clone(), one.chaos.inject("fail CKR_DEVICE_ERROR @ hsm.authorize command=delete_key"):
            met(app.generate_key, "AES", 256, label="marked")
        yield from differs("tombstones", len(one.hsm("hsm-1").tombstones), 1)
        yield from differs("orphans, marked for deletion", labels(one.check.orphan_keys()), [])


def resurrection(dice: Stream) -> Iterator[str]:
    """A deleted key that an HSM brings back, by joining, by coming up or through a round, is resurrected."""
    for way, said in (("join", "it joined with it"), ("power", "it came up with it"), ("sweep", "the sweep copied it")):
        with cluster() as one:
            app, hsm = one.client(), dice.choice(THREE)
            key = app.generate_key("AES", 256, label="back")
            if way == "join":
                one.add_hsm("a")
                one.clock.advance(100)
                app.delete_key(key)
                one.clock.advance(300)
            else:
                one.chaos.crash(hsm)
                app.delete_key(key)
                yield from differs("resurrected keys while the HSM is off", labels(one.check.resurrected_keys()), [])
                one.chaos.restart(hsm)
            if way == "sweep":
                one.sweep_now()
            found = [(finding.label, said in finding.cause) for finding in one.check.resurrected_keys()]
            yield from differs(f"resurrected keys, and whether {way} is said to be why", found, [("back", True)])


def twins(dice: Stream) -> Iterator[str]:
    """Two keys with a label are duplicates if nobody knows of one, and if they are of one owner."""
    with cluster() as one:
        app = one.client()
        one.create_user("bob", "password")
        bob = one.client("bob", login=False)
        bob.login("bob", "password")
        with one.chaos.lose_response("generate_key"):
            met(app.generate_key, "AES", 256, label="twin")
        one.clock.advance(10)
        bob.generate_key("AES", 256, label="twin")
        yield from differs("duplicates of two owners", labels(one.check.duplicate_labels()), [])
        app.generate_key("AES", 256, label="twin")
        yield from differs("duplicates of one owner", labels(one.check.duplicate_labels()), ["twin"])
        app.generate_key("AES", 256, label="pair")
        app.generate_key("AES", 256, label="pair")
        yield from differs("duplicates beside a rotation", labels(one.check.duplicate_labels()), ["twin"])


def openable(dice: Stream) -> Iterator[str]:
    """Data can be opened as long as its key can be had: imported, or wrapped under what can be, and so on."""
    deep = 2 + dice.below(2)
    with cluster() as one:
        app = one.client()
        outer = app.import_key("AES", bytes(range(32)), label="imported")
        app.encrypt(outer, b"data")
        for number in range(deep):
            inner = app.generate_key("AES", 256, label=f"inner {number}")
            app.wrap_key(inner, with_key=outer)
            app.encrypt(inner, b"data")
            outer = inner
        app.encrypt(app.generate_key("AES", 256, label="bare"), b"data")
        lose_all(one)
        yield from differs("undecryptable data", labels(one.check.undecryptable_data()), ["bare"])


def missed(dice: Stream) -> Iterator[str]:
    """A call that met an HSM without the key was a miss, and is mended by a later one that is ok."""
    hsm = dice.choice(THREE[1:])
    with cluster(routing="round_robin") as one:
        app = one.client()
        with one.chaos.fail_clone(hsm):
            key = app.generate_key("AES", 256, label="k")
        while (came := met(app.encrypt, key, b"data")) == "ok":
            pass
        yield from differs("a call to an HSM without the key", came, f"{KeyNotOnHsm.__name__} fail")
        yield from differs("misses", [finding.hsms for finding in one.check.routing_misses()], [(hsm,)])
        yield from differs("misses for good", met_promise(one), False)
        app.encrypt(key, b"data")
        yield from differs("misses for good after a retry", met_promise(one), True)


def met_promise(one: HsmCluster) -> bool:
    """Whether all misses were retried."""
    try:
        one.check.misses_retried()
    except AssertionError:
        return False
    return True


def at_risk(dice: Stream) -> Iterator[str]:
    """A key is at risk on fewer HSMs that run than are wanted; a silent one runs, one that is off does not."""
    with cluster(4) as one:
        app = one.client()
        app.generate_key("AES", 256, label="k")
        yield from differs("at risk on four of four", labels(one.check.at_risk_keys(copies=4)), [])
        with one.chaos.pause(dice.choice(FOUR)):
            yield from differs("at risk, one being silent", labels(one.check.at_risk_keys(survive=3)), [])
        with one.chaos.crash(dice.choice(FOUR)):
            yield from differs("at risk, one being off", labels(one.check.at_risk_keys(survive=3)), ["k"])
            yield from differs("lost, one being off", labels(one.check.lost_keys()), [])


THEMES: tuple[Theme, ...] = (
    untold_key,
    leftover,
    marked,
    resurrection,
    twins,
    openable,
    missed,
    at_risk,
)
