"""What becomes of keys, users and sessions in stories whose end is known beforehand?

Each theme is one promise of the documentation, made to happen; who is struck varies with the seed.
"""

from collections.abc import Iterator

from pytest_hsmcluster.errors import (
    AccountLocked,
    DataInvalid,
    KeyAccessDenied,
    KeyCapacityReached,
    KeyNotOnHsm,
    KeyUnavailable,
    LoginFailed,
    TooFewCopies,
)
from pytest_hsmcluster.history.events import Cause
from pytest_hsmcluster.service.keystore import StoredKey
from pytest_hsmcluster.sim.entropy import Stream

from .staging import FOUR, THREE, Theme, cluster, differs, holders, met


def half_a_pair(dice: Stream) -> Iterator[str]:
    """A copy of one half of a pair is removed like any other."""
    with cluster(3, create_object_minimum_nodes=2) as one:
        app = one.client()
        one.chaos.fail_clone("hsm-3")
        one.chaos.inject("fail CKR_DEVICE_ERROR @ hsm.authorize command=insert_masked hsm=hsm-2 nth=2")
        came = met(app.generate_key_pair, "EC", "P-256", label="pair")
        yield from differs("half a pair on the other HSM", came, f"{TooFewCopies.__name__} fail")
        left = [key for hsm in one.hsms for key in hsm.keys.values()]
        yield from differs("copies of a pair that was cleaned up", left, [])


def early_create(dice: Stream) -> Iterator[str]:
    """A create with a time-out returns when there are enough copies, and the others come later."""
    with cluster(4) as one:
        key = one.client().generate_key("AES", 256, label="early", min_srv=1 + dice.below(2), timeout_s=5)
        one.clock.advance(1)
        yield from differs("copies of a create that returned early", holders(one, key), FOUR)


def dead_copies(dice: Stream) -> Iterator[str]:
    """A copy on an HSM that was lost while the other one took its own does not make a key available."""
    with cluster(2, 5) as one:
        app = one.client()
        one.chaos.inject("crash source @ client.receive op=generate_key command=insert_masked nth=1")
        came = met(app.generate_key, "AES", 256, label="kek")
        yield from differs("a create whose maker went off", came.partition(" ")[0], KeyUnavailable.__name__)


def refused_create(dice: Stream) -> Iterator[str]:
    """SDK 5 cleans up after a create that it refuses, or leaves a copy and says that nobody knows."""
    for cleans, outcome, left in ((True, "fail", []), (False, "info", ["hsm-1"])):
        with cluster(3, 5, sdk5_cleans_up=cleans) as one:
            app = one.client()
            one.chaos.fail_clone()
            came = met(app.generate_key, "AES", 256, label="kek")
            yield from differs("a create of SDK 5 without copies", came, f"{KeyUnavailable.__name__} {outcome}")
            yield from differs("what is left of it", [hsm.id for hsm in one.hsms if hsm.keys], left)


def too_few_to_use(dice: Stream) -> Iterator[str]:
    """SDK 5 refuses a key that is on one HSM, whenever a process that has not seen it asks."""
    with cluster(3, 5) as one:
        key = one.client().generate_key("AES", 256, label="kek")
        holder = dice.choice(THREE)
        for hsm in [hsm for hsm in THREE if hsm != holder]:
            if dice.below(2):
                one.hsm(hsm).store.tombstone(key.number, Cause.CLEANUP)
            else:
                one.hsm(hsm).store.remove(key.number, Cause.CLEANUP)
        other = one.client("other")
        for time in ("first", "second"):
            came = met(other.encrypt, key, b"data")
            yield from differs(f"the {time} use of a key that is on one HSM", came, f"{KeyUnavailable.__name__} fail")


def silent_copy(dice: Stream) -> Iterator[str]:
    """A copy whose answer never came is none, and it is cleaned up with the others."""
    point = dice.choice(("wire.request", "wire.response"))
    with cluster(3, create_object_minimum_nodes=2) as one:
        app = one.client()
        one.chaos.fail_clone("hsm-3")
        one.chaos.inject(f"drop @ {point} command=insert_masked hsm=hsm-2")
        came = met(app.generate_key, "AES", 256, label="kek")
        left = [hsm.id for hsm in one.hsms if hsm.keys]
        yield from differs("a create with one copy unanswered", came.partition(" ")[0], TooFewCopies.__name__)
        yield from differs("HSMs with copies after the cleanup", left, [])


def kill_mid_create(dice: Stream) -> Iterator[str]:
    """The maker of a key is lost when there are so many copies, its own being the first."""
    copies = 1 + dice.below(4)
    with cluster(4) as one:
        app = one.client()
        one.chaos.kill_mid_create(copies)
        met(app.generate_key, "AES", 256, label="kek")
        records = one.history.records
        lost = next(index for index, record in enumerate(records) if record[0] == "lost")
        yield from differs("copies when the maker was lost", sum(r[0] == "held" for r in records[:lost]), copies)


def damaged_copy(dice: Stream) -> Iterator[str]:
    """A masked object with one bit changed is refused."""
    hsm = dice.choice(THREE[1:])
    with cluster() as one:
        app = one.client()
        one.chaos.inject(f"corrupt payload @ wire.request hsm={hsm}")
        key = app.generate_key("AES", 256, label="kek")
        yield from differs("copies of a key, one of them damaged", holders(one, key), [h for h in THREE if h != hsm])


def capacity(dice: Stream) -> Iterator[str]:
    """An HSM takes as many keys as it has room for, and no more: new ones, pairs and copies."""
    room = 2 + dice.below(3)
    with cluster(1, key_capacity=room) as one:
        app = one.client()
        told = [met(app.generate_key, "AES", 128, label="k") for _ in range(room + 1)]
        yield from differs("creates", told, ["ok"] * room + [f"{KeyCapacityReached.__name__} fail"])
        app.delete_key(app.find_keys()[0])
        came = met(app.generate_key_pair, "EC", "P-256", label="pair")
        yield from differs("a pair where there is room for one key", came, f"{KeyCapacityReached.__name__} fail")
    with cluster(2) as one:
        app = one.client()
        one.chaos.fill("hsm-2")
        key = app.generate_key("AES", 128, label="k")
        yield from differs("copies, one HSM being full", holders(one, key), ["hsm-1"])


def half_a_delete(dice: Stream) -> Iterator[str]:
    """A delete that one HSM refuses is unknown; one that all refuse has certainly not happened."""
    hsm = dice.choice(THREE)
    with cluster() as one:
        app = one.client()
        key, other = app.generate_key("AES", 256, label="k"), app.generate_key("AES", 256, label="o")
        with one.chaos.inject(f"fail CKR_DEVICE_ERROR @ hsm.authorize command=delete_key hsm={hsm}"):
            came = met(app.delete_key, key)
        yield from differs("a delete that one HSM refused", came, "HsmUnavailable info")
        yield from differs("holders of a key that one HSM did not delete", holders(one, key), [hsm])
        with one.chaos.inject("fail CKR_DEVICE_ERROR @ hsm.authorize command=delete_key"):
            came = met(app.delete_key, other)
        yield from differs("a delete that all HSMs refused", came, "HsmUnavailable fail")
        yield from differs("holders of a key that no HSM deleted", holders(one, other), THREE)


def tombstones(dice: Stream) -> Iterator[str]:
    """What is marked for deletion stays so: no copy that comes late and no HSM that joins brings it back."""
    with cluster(3, create_object_minimum_nodes=2, sweep=True) as one:
        app = one.client()
        with one.chaos.fail_clone(), one.chaos.inject("fail CKR_DEVICE_ERROR @ hsm.authorize command=delete_key"):
            met(app.generate_key, "AES", 256, label="marked")
        marked = list(one.hsm("hsm-1").tombstones)
        yield from differs("keys marked for deletion", len(marked), 1)
        if not marked:
            return
        late: StoredKey = one.hsm("hsm-1").tombstones[marked[0]]
        try:
            one.hsm("hsm-1").store.insert(late, Cause.CLONE, source="hsm-2")
            yield "a late copy brought back a key that was marked for deletion"
        except DataInvalid:
            pass
        joined = one.add_hsm("a")
        one.clock.advance(400)
        yield from differs("keys that joined although they are marked", list(joined.keys), [])


def sharing(dice: Stream) -> Iterator[str]:
    """Whom a key is shared with may use it, beside others; only its owner may do more."""
    with cluster(routing="round_robin") as one:
        app = one.client()
        for user in ("bob", "carol", "dave"):
            one.create_user(user, "password")
        key, secret = app.generate_key("AES", 256, label="shared"), app.generate_key("AES", 256, label="secret")
        app.share_key(key, with_user="bob")
        app.share_key(key, with_user="carol")
        for user, meant in (("bob", "ok"), ("carol", "ok"), ("dave", f"{KeyAccessDenied.__name__} fail")):
            client = one.client(user, login=False)
            client.login(user, "password")
            uses = [met(client.encrypt, key, b"data") for _ in range(3)]
            yield from differs(f"{user}'s use of a key that is shared with bob and carol", uses, [meant] * 3)
            seen = [found.number for found in client.find_keys()]
            yield from differs(f"what {user} finds", seen, [key.number] if meant == "ok" else [])
            tried = [
                met(client.delete_key, key),
                met(client.share_key, key, with_user="dave"),
                met(client.encrypt, secret, b"data"),
            ]
            yield from differs(
                f"what only the owner may, done by {user}", tried, [f"{KeyAccessDenied.__name__} fail"] * 3
            )


def copies_are_shared(dice: Stream) -> Iterator[str]:
    """Whoever brings a copy brings with it whom the key is shared with."""
    hsm = dice.choice(THREE[1:])
    with cluster() as one:
        app = one.client()
        one.create_user("bob", "password")
        with one.chaos.fail_clone(hsm):
            key = app.generate_key("AES", 256, label="k")
        with one.chaos.partition("app", hsm):
            app.share_key(key, with_user="bob") if met(app.share_key, key, with_user="bob") == "ok" else None
        one.sweep_now()
        shares = {id: one.hsm(id).keys[key.number].shares for id in THREE if key.number in one.hsm(id).keys}
        yield from differs("shares of a key after a sweep", shares, dict.fromkeys(THREE, ("bob",)))


def sessions(dice: Stream) -> Iterator[str]:
    """A session key is its session's: others do not see it, no backup has it, and only its own logout ends it."""
    with cluster(routing="round_robin") as one:
        app, other = one.client("app"), one.client("other")
        app.random(1 + dice.below(8))
        mine = app.generate_key("AES", 256, label="mine", token=False)
        theirs = other.generate_key("AES", 256, label="theirs", token=False)
        missing = f"{KeyNotOnHsm.__name__} fail"
        yield from differs("a delete of another session's key", met(other.delete_key, mine), missing)
        yield from differs("uses of a session key", [met(app.encrypt, mine, b"x") for _ in range(4)], ["ok"] * 4)
        joined = one.add_hsm("b")
        one.clock.advance(400)
        yield from differs("session keys on an HSM that joined", [k.label for k in joined.keys.values()], [])
        app.logout()
        yield from differs("a session key after another application's logout", met(other.sign, theirs, b"x"), "ok")
        yield from differs("holders of a session key after its logout", holders(one, mine), [])


def wrong_passwords(dice: Stream) -> Iterator[str]:
    """More than five wrong passwords lock an account on that HSM; up to five do not."""
    for wrong, meant in ((5, "ok"), (6, f"{AccountLocked.__name__} fail")):
        with cluster(1) as one:
            app = one.client(login=False)
            told = [met(app.login, "crypto_user", "wrong-password") for _ in range(wrong)]
            yield from differs("wrong passwords", told, [f"{LoginFailed.__name__} fail"] * wrong)
            came = met(app.login, "crypto_user", one.default_password)
            yield from differs(f"the right password after {wrong} wrong ones", came, meant)


def drifted_user(dice: Stream) -> Iterator[str]:
    """The HSM that is asked first decides about a login; others that do not know the user are left out."""
    hsm = dice.choice(THREE)
    with cluster() as one:
        one.chaos.drop_user(hsm, "crypto_user")
        told = [met(one.client, f"app-{number}") for number in range(3)]
        yield from differs("logins, of which one began where the user is unknown", sorted(told)[1:], ["ok", "ok"])
        yield from differs("that login", sorted(told)[0], f"{LoginFailed.__name__} fail")


THEMES: tuple[Theme, ...] = (
    half_a_pair,
    early_create,
    dead_copies,
    refused_create,
    too_few_to_use,
    silent_copy,
    kill_mid_create,
    damaged_copy,
    capacity,
    half_a_delete,
    tombstones,
    sharing,
    copies_are_shared,
    sessions,
    wrong_passwords,
    drifted_user,
)
