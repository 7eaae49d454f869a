"""For each failure mode, a short life of a cluster in which one operation meets it."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from pytest_hsmcluster.client.blocking import Client
from pytest_hsmcluster.client.handles import KeyHandle
from pytest_hsmcluster.cluster import HsmCluster
from pytest_hsmcluster.cryptoki import CKA
from pytest_hsmcluster.errors import ClusterError

Told = tuple[HsmCluster, str]
"""A cluster, and the name of the operation that met the failure there."""

STORIES: dict[str, Callable[[], Told]] = {}
"""Name of a mode → its story."""


def story(*names: str) -> Callable[[Callable[[], Told]], Callable[[], Told]]:
    def keep(tell: Callable[[], Told]) -> Callable[[], Told]:
        STORIES.update(dict.fromkeys(names, tell))
        return tell

    return keep


def guarded() -> HsmCluster:
    """SDK 3, and a create has to reach two HSMs."""
    return HsmCluster(3, sdk=3, create_object_minimum_nodes=2)


def lax() -> HsmCluster:
    """SDK 3 as it comes: one HSM is enough."""
    return HsmCluster(3, sdk=3)


def made(cluster: HsmCluster, *faults: str) -> tuple[Client, KeyHandle]:
    """Return a client and a key that it has made while these faults were in force."""
    app = cluster.client("app")
    with installed(cluster, *faults):
        return app, app.generate_key("AES", 256, label="kek")


@contextmanager
def installed(cluster: HsmCluster, *faults: str) -> Iterator[None]:
    held = [cluster.chaos.install(spec) for spec in faults]
    yield
    for one in reversed(held):
        one.__exit__(None, None, None)


def makes(cluster: HsmCluster, *faults: str) -> Told:
    """Make a key while these faults are in force, whatever comes of it."""
    with suppress(ClusterError):
        made(cluster, *faults)
    return cluster, "generate_key"


def signs(cluster: HsmCluster, *faults: str) -> Told:
    """Use a key while these faults are in force, whatever comes of it."""
    app, key = made(cluster)
    with installed(cluster, *faults), suppress(ClusterError):
        app.encrypt(key, b"data")
    return cluster, "encrypt"


# -- making keys ------------------------------------------------------------------------


@story("maker-dies-alone")
def _maker_dies_alone() -> Told:
    return makes(guarded(), "kill-mid-create")


@story("maker-dies-later")
def _maker_dies_later() -> Told:
    return makes(guarded(), "kill-mid-create after_copies=2")


@story("on-one-hsm")
def _on_one_hsm() -> Told:
    return makes(lax(), "fail-clone")


@story("copies-missing")
def _copies_missing() -> Told:
    return makes(HsmCluster(3), "fail-clone hsm-3")


@story("too-few-copies")
def _too_few_copies() -> Told:
    return makes(guarded(), "fail-clone")


@story("leftover-marked")
def _leftover_marked() -> Told:
    return makes(guarded(), "fail-clone", "fail CKR_DEVICE_ERROR @ hsm.authorize command=delete_key")


@story("orphan-left")
def _orphan_left() -> Told:
    return makes(guarded(), "fail-cleanup")


@story("check-refused")
def _check_refused() -> Told:
    return makes(HsmCluster(3), "fail-clone", "stall-sync")


@story("made-during-join")
def _made_during_join() -> Told:
    return makes(HsmCluster(3), "replaced-hsm hsm-3")


@story("hsm-full")
def _hsm_full() -> Told:
    return makes(HsmCluster(3), "full-hsm hsm-1")


# -- answers -------------------------------------------------------------------------------


@story("time-out")
def _time_out() -> Told:
    return signs(HsmCluster(3, routing="pinned"), "gray-failure hsm-1")


@story("connection-lost")
def _connection_lost() -> Told:
    return signs(HsmCluster(3), "crash here @ hsm.execute nth=1")


@story("answer-lost", "find-orphan")
def _answer_lost() -> Told:
    told = makes(HsmCluster(3), "lost-ack generate_key")
    return told


@story("done-late")
def _done_late() -> Told:
    cluster, name = makes(HsmCluster(3), "delay 60s @ wire.request command=generate_key nth=1")
    cluster.clock.advance(120)
    return cluster, name


@story("error-though-done")
def _error_though_done() -> Told:
    return makes(HsmCluster(3), "fail CKR_FUNCTION_FAILED @ hsm.reply command=generate_key nth=1")


def deletes(cluster: HsmCluster, *faults: str) -> Told:
    """Delete a key while these faults are in force, whatever comes of it."""
    app, key = made(cluster)
    with installed(cluster, *faults), suppress(ClusterError):
        app.delete_key(key)
    return cluster, "delete_key"


@story("half-done")
def _half_done() -> Told:
    return deletes(HsmCluster(3), "fail CKR_DEVICE_ERROR @ hsm.execute command=delete_key hsm=hsm-2")


@story("busy")
def _busy() -> Told:
    return signs(HsmCluster(3), "fail 0xBB @ hsm.receive nth=1")


@story("busy-told")
def _busy_told() -> Told:
    return signs(HsmCluster(3, routing="pinned"), "throttled hsm-1")


@story("single-error")
def _single_error() -> Told:
    return signs(HsmCluster(3), "fail CKR_GENERAL_ERROR @ hsm.execute nth=1")


@story("all-unreachable")
def _all_unreachable() -> Told:
    return signs(HsmCluster(3), *(f"crashed-hsm hsm-{n}" for n in (1, 2, 3)))


@story("slow")
def _slow() -> Told:
    return signs(HsmCluster(3), "delay 2s @ hsm.execute nth=1")


@story("application-died")
def _application_died() -> Told:
    return signs(HsmCluster(3), "crash @ client.receive nth=1")


# -- the HSM that is asked ---------------------------------------------------------------------


def misses(cluster: HsmCluster) -> Told:
    """Use a key on an HSM that has not got it."""
    app, key = made(cluster, "fail-clone hsm-3")
    with installed(cluster, "stall-sync", "routed-to hsm-3"), suppress(ClusterError):
        app.encrypt(key, b"data")
    return cluster, "encrypt"


@story("missed-sdk3")
def _missed_sdk3() -> Told:
    return misses(guarded())


@story("missed-sdk5", "not-yet-everywhere")
def _missed_sdk5() -> Told:
    return misses(HsmCluster(3))


@story("missed-on-new-hsm")
def _missed_on_new_hsm() -> Told:
    cluster = HsmCluster(3)
    app = cluster.client("app")
    cluster.chaos.stall_sync()
    new = cluster.chaos.replace("hsm-3").replacement
    cluster.clock.advance(60)  # the snapshot is taken
    key = app.generate_key("AES", 256, label="kek")
    cluster.clock.advance(300)
    with cluster.chaos.route_to(new.id), suppress(ClusterError):
        app.encrypt(key, b"data")
    return cluster, "encrypt"


@story("key-lost")
def _key_lost() -> Told:
    cluster = lax()
    app, key = made(cluster, "kill-mid-create")
    with suppress(ClusterError):
        app.encrypt(key, b"data")
    return cluster, "encrypt"


@story("key-deleted")
def _key_deleted() -> Told:
    cluster = HsmCluster(3)
    app, key = made(cluster)
    cluster.client("other").delete_key(key)
    with suppress(ClusterError):
        app.encrypt(key, b"data")
    return cluster, "encrypt"


@story("session-key-gone")
def _session_key_gone() -> Told:
    cluster = HsmCluster(3)
    app = cluster.client("app")
    key = app.generate_key("AES", 256, label="kek", token=False)
    cluster.chaos.crash("hsm-1")
    with suppress(ClusterError):
        app.encrypt(key, b"data")
    return cluster, "encrypt"


# -- fewer HSMs -----------------------------------------------------------------------------------


@story("hsm-off")
def _hsm_off() -> Told:
    return signs(HsmCluster(3), "crashed-hsm hsm-3")


@story("last-hsm")
def _last_hsm() -> Told:
    return signs(HsmCluster(3), "crashed-hsm hsm-3", "crashed-hsm hsm-2")


# -- changed keys -------------------------------------------------------------------------------------


@story("delete-missed")
def _delete_missed() -> Told:
    return deletes(HsmCluster(3), "crashed-hsm hsm-3")


def shared_while_one_is_off() -> tuple[HsmCluster, Client, KeyHandle]:
    cluster = HsmCluster(3)
    app, key = made(cluster)
    cluster.create_user("bob", "password")
    with cluster.chaos.crash("hsm-3"):
        app.share_key(key, with_user="bob")
    return cluster, app, key


@story("change-missed")
def _change_missed() -> Told:
    return shared_while_one_is_off()[0], "share_key"


@story("copies-differ")
def _copies_differ() -> Told:
    cluster, app, key = shared_while_one_is_off()
    app.encrypt(key, b"data")
    return cluster, "encrypt"


@story("came-back")
def _came_back() -> Told:
    cluster, _ = deletes(HsmCluster(3), "crashed-hsm hsm-3")
    cluster.sweep_now()
    cluster.client("later").find_keys(label="kek")
    return cluster, "find_keys"


# -- looking for keys --------------------------------------------------------------------------------------


@story("find-incomplete")
def _find_incomplete() -> Told:
    cluster = lax()
    app, _ = made(cluster, "fail-clone")
    with cluster.chaos.crash("hsm-1"):
        app.find_keys(label="kek")
    return cluster, "find_keys"


@story("find-twins")
def _find_twins() -> Told:
    cluster = HsmCluster(3)
    app, _ = made(cluster)
    app.generate_key("AES", 256, label="kek")
    app.find_keys(label="kek")
    return cluster, "find_keys"


@story("find-orphan")
def _find_orphan() -> Told:
    cluster, _ = makes(HsmCluster(3), "lost-ack generate_key")
    cluster.clock.advance(60)
    cluster.client("later").find_keys(label="kek")
    return cluster, "find_keys"


# -- logging in ------------------------------------------------------------------------------------------------


@story("login-lost")
def _login_lost() -> Told:
    cluster = HsmCluster(3)
    app, key = made(cluster)
    with installed(cluster, *(f"crashed-hsm hsm-{n}" for n in (1, 2, 3))):
        pass
    cluster.clock.advance(3)
    with suppress(ClusterError):
        app.encrypt(key, b"data")
    return cluster, "encrypt"


def logs_in(cluster: HsmCluster, *faults: str) -> Told:
    with installed(cluster, *faults), suppress(ClusterError):
        cluster.client("app")
    return cluster, "login"


@story("account-drifted")
def _account_drifted() -> Told:
    return logs_in(HsmCluster(3), "user-drift hsm=hsm-2 user=crypto_user")


@story("account-locked")
def _account_locked() -> Told:
    cluster = HsmCluster(1)
    app = cluster.client("app", login=False)
    for _ in range(7):
        with suppress(ClusterError):
            app.login("crypto_user", "not the password")
    return cluster, "login"


@story("login-refused")
def _login_refused() -> Told:
    return logs_in(HsmCluster(3), "fail LoginFailed @ hsm.authorize command=login")


@story("sessions-used-up")
def _sessions_used_up() -> Told:
    cluster = HsmCluster(1, sessions_per_hsm=1)
    cluster.client("first")
    return logs_in(cluster)


def changes(cluster: HsmCluster) -> None:
    """Share a key and change its label, as healthy clusters do."""
    app, key = made(cluster)
    cluster.create_user("bob", "password")
    app.share_key(key, with_user="bob")
    app.set_attribute(key, CKA.LABEL, "renamed")
