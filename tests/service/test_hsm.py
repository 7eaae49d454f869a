"""One HSM: sessions, locks, capacity, and what it answers."""

import pytest

from pytest_hsmcluster import (
    CKA,
    AccountLocked,
    HsmBusy,
    KeyCapacityReached,
    KeyNotOnHsm,
    Kind,
    LoginFailed,
    NotLoggedIn,
    SessionLimitReached,
)


def bad_logins(client, times):
    for _ in range(times):
        with pytest.raises(LoginFailed):
            client.login("alice", "wrong-password")


@pytest.mark.parametrize(("name", "kind"), [("admin", "CO"), ("app_user", "AU")])
def test_only_crypto_users_have_keys(build, name, kind):
    """An officer or the service's own user cannot open a session for keys: Invalid User Type, 0xdb."""
    cluster = build(1)
    client = cluster.client(login=False)

    with pytest.raises(LoginFailed, match=f"Invalid User Type.*{name!r} is a {kind}") as caught:
        client.login(name, cluster.default_password)

    assert caught.value.hsm_code == 0xDB
    assert caught.value.outcome == "fail"


def test_account_is_locked_after_more_than_five_bad_passwords(build):
    """The sixth locks; then the right password does not help, a new one by an admin does."""
    cluster = build(1)
    cluster.create_user("alice", "password1")
    client = cluster.client(login=False)

    bad_logins(client, 6)
    with pytest.raises(AccountLocked) as caught:
        client.login("alice", "password1")
    cluster.admin.change_password("alice", "password2")
    client.login("ALICE", "password2")

    assert caught.value.hsm == "hsm-1"
    assert client.user == "alice"
    assert [event.action for event in cluster.history.of(Kind.USER)] == ["created", "locked", "password", "unlocked"]


def test_lock_is_per_hsm(build):
    """The account that is locked on one HSM is open on another; nothing reconciles it."""
    cluster = build(2)
    cluster.create_user("alice", "password1")
    for _ in range(6):
        with pytest.raises(LoginFailed):
            cluster.hsm("hsm-1").authenticate("alice", "wrong-password", 0)
    cluster.clock.advance(3600)
    cluster.sweep_now()

    with pytest.raises(AccountLocked):
        cluster.hsm("hsm-1").authenticate("alice", "password1", 0)
    cluster.hsm("hsm-2").authenticate("alice", "password1", 0)
    assert cluster.coverage("alice") == "inconsistent"


def test_lock_survives_a_restart(build):
    """Users and their counters are on the HSM for good."""
    cluster = build(1)
    cluster.create_user("alice", "password1")
    client = cluster.client(login=False)
    bad_logins(client, 6)

    cluster.chaos.crash("hsm-1").end()
    cluster.clock.advance(10)

    with pytest.raises(AccountLocked):
        client.login("alice", "password1")


def test_session_keys_and_token_keys_share_the_room(build):
    """Session keys count; a deleted key makes room again."""
    cluster = build(1, key_capacity=3)
    client = cluster.client()
    client.generate_key("AES", 256, label="token")
    session = client.generate_key("AES", 256, label="session", token=False)
    client.generate_key("AES", 256, label="another")

    with pytest.raises(KeyCapacityReached, match=r"hsm-1 holds 3 keys .*capacity 3, session keys included") as caught:
        client.generate_key("AES", 256, label="too much")
    client.delete_key(session)
    client.generate_key("AES", 256, label="fits")

    assert caught.value.hsm == "hsm-1"
    assert cluster.metrics()["hsm-1"]["HsmKeysTokenOccupied"] == 3


def test_pair_needs_room_for_both_halves(build):
    """All of a create or nothing."""
    cluster = build(1, key_capacity=1)
    client = cluster.client()

    with pytest.raises(KeyCapacityReached, match="no room for 2 more"):
        client.generate_key_pair("EC", "secp256r1", label="pair")

    assert cluster.hsm("hsm-1").keys == {}


def test_tombstones_take_room(build):
    """Marked for deletion is not deleted."""
    cluster = build(2, create_object_minimum_nodes=1, key_capacity=1, sweep=False)
    client = cluster.client()
    key = client.generate_key("AES", 256, label="k")
    hsm = cluster.hsm("hsm-1")
    hsm.store.tombstone(key.number, "cleanup")

    with pytest.raises(KeyCapacityReached):
        hsm.make_room(1, token=True)
    assert len(hsm.store) == 1


def test_hsm_has_so_many_sessions(build):
    """The limit is per HSM; a client that ends makes room."""
    cluster = build(1, sessions_per_hsm=2)
    first, _ = cluster.client("one"), cluster.client("two")

    with pytest.raises(SessionLimitReached, match="Already maximum number of sessions are issued") as caught:
        cluster.client("three")
    first.close()
    cluster.client("four")

    assert caught.value.hsm_code == 0x8C
    assert cluster.metrics()["hsm-1"]["HsmSessionCount"] == 2


def test_cluster_has_so_many_connections(build):
    """Concurrent clients are limited for the whole cluster."""
    cluster = build(1, connections_per_cluster=2)
    first, _ = cluster.client("one"), cluster.client("two")

    with pytest.raises(SessionLimitReached, match="2 clients are connected"):
        cluster.client("three")
    first.close()
    cluster.client("three")


def test_session_key_lives_on_one_hsm_and_ends_with_its_session(build, holders):
    """It is never copied, not even by the sweep, and gone after the logout."""
    cluster = build(3)
    client = cluster.client()
    key = client.generate_key("AES", 256, label="s", token=False)
    cluster.clock.advance(300)
    where = holders(cluster, "s")
    client.encrypt(key, b"data")

    client.logout()

    assert len(where) == 1
    assert holders(cluster, "s") == []
    cluster.check.session_keys_stay_put()


def test_session_key_is_invisible_to_another_application_of_the_same_user(build):
    """Session objects belong to the application that made them: nobody else finds or uses one."""
    cluster = build(1)
    one, two = cluster.client("one"), cluster.client("two")
    key = one.generate_key("AES", 256, label="s", token=False)

    assert one.find_keys(label="s") == [key]
    assert two.find_keys(label="s") == []
    with pytest.raises(KeyNotOnHsm):
        two.encrypt(key, b"data")


def test_session_key_ends_when_the_application_does(build, holders):
    """`close` ends the session on every HSM."""
    cluster = build(1)
    client = cluster.client()
    client.generate_key("AES", 256, label="s", token=False)

    client.close()

    assert holders(cluster, "s") == []
    assert cluster.hsm("hsm-1").session_count == 0


def test_second_login_of_a_client_ends_its_first_session(build, holders):
    """An HSM that a client reconnects to has dropped the session keys of the lost connection."""
    cluster = build(1, request_timeout_s=1)
    client = cluster.client()
    key = client.generate_key("AES", 256, label="s", token=False)
    with cluster.chaos.pause("hsm-1"), pytest.raises(Exception, match="not answered in time"):
        client.encrypt(key, b"data")
    cluster.clock.advance(10)
    if client.user is None:
        client.login(cluster.default_user, cluster.default_password)
    client.random(8)

    assert holders(cluster, "s") == []
    assert cluster.hsm("hsm-1").session_count == 1


def test_crash_ends_sessions_and_session_keys_and_keeps_token_keys(build, holders):
    """Power off and on: token keys are there, session keys, sessions and logins are not."""
    cluster = build(1)
    client = cluster.client()
    client.generate_key("AES", 256, label="token")
    client.generate_key("AES", 256, label="session", token=False)

    with cluster.chaos.crash("hsm-1"):
        assert holders(cluster, "token") == ["hsm-1"]
        assert holders(cluster, "session") == []
    hsm = cluster.hsm("hsm-1")

    assert (hsm.state, hsm.boots, hsm.session_count) == ("up", 1, 0)
    assert holders(cluster, "token") == ["hsm-1"]
    cluster.clock.advance(10)
    with pytest.raises(NotLoggedIn):
        client.find_keys()


def test_restarted_hsm_serves_again_after_a_login(build):
    """The key is usable once somebody logs in."""
    cluster = build(1)
    client = cluster.client()
    key = client.generate_key("AES", 256, label="k")
    box = client.encrypt(key, b"data")
    cluster.chaos.crash("hsm-1").end()
    cluster.clock.advance(10)

    again = cluster.client("again")

    assert again.decrypt(key, box) == b"data"


def test_lost_hsm_takes_its_keys_with_it(build, holders):
    """Lost for good: nothing is left, and it cannot be restarted."""
    cluster = build(2)
    client = cluster.client()
    client.generate_key("AES", 256, label="k")

    cluster.chaos.destroy("hsm-2")

    assert holders(cluster, "k") == ["hsm-1"]
    assert cluster.hsm("hsm-2").state == "lost"
    with pytest.raises(Exception, match="hsm-2 is lost for good"):
        cluster.chaos.restart("hsm-2")


def test_throttled_hsm_answers_that_it_is_busy(build):
    """0xBB, and SDK 3 hands it on at once."""
    cluster = build(1)
    client = cluster.client()
    with cluster.chaos.throttle("hsm-1"), pytest.raises(HsmBusy) as caught:
        client.random(8)

    client.random(8)

    assert (caught.value.hsm_code, caught.value.hsm) == (0xBB, "hsm-1")


def test_repr_shows_state_and_no_key(build):
    """What an HSM is, in one line."""
    cluster = build(1, zones=("z",))

    assert repr(cluster.hsm("hsm-1")) == "<Hsm hsm-1 up zone=z keys=0>"


def test_ground_truth_is_a_copy(build):
    """Nobody changes an HSM by changing what `keys` returned."""
    cluster = build(1)
    cluster.client().generate_key("AES", 256, label="k")
    hsm = cluster.hsm("hsm-1")

    hsm.keys.clear()

    (record,) = hsm.keys.values()
    assert (record.label, record.owner, record.token, record.cls) == ("k", cluster.default_user, True, "secret")
    assert record.attributes[CKA.LABEL] == "k"


def test_tombstoned_key_is_not_listed_not_usable_and_not_swept(build, holders):
    """Marked for deletion: nobody sees it, and no sweep brings it back or spreads it."""
    cluster = build(2, create_object_minimum_nodes=1)
    client = cluster.client()
    key = client.generate_key("AES", 256, label="k")
    for hsm in cluster.hsms:
        hsm.store.tombstone(key.number, "cleanup")

    cluster.clock.advance(300)

    assert holders(cluster, "k") == []
    assert [list(hsm.tombstones) for hsm in cluster.hsms] == [[key.number]] * 2
    assert client.find_keys(label="k") == []
    with pytest.raises(KeyNotOnHsm):
        client.encrypt(key, b"data")
    with pytest.raises(KeyNotOnHsm):
        client.delete_key(key)


def test_cleanup_that_cannot_delete_tombstones(build, holders):
    """Removed, else marked for deletion: then nothing is left that anybody could use."""
    cluster = build(3, create_object_minimum_nodes=2, sweep=False)
    client = cluster.client()
    cluster.chaos.fail_clone()
    cluster.chaos.inject("fail CKR_DEVICE_ERROR @ hsm.execute command=delete_key")

    with pytest.raises(Exception, match="reached 1 of 2 HSMs") as caught:
        client.generate_key("AES", 256, label="k")

    assert holders(cluster, "k") == []
    assert [len(hsm.tombstones) for hsm in cluster.hsms].count(1) == 1
    assert (caught.value.leftovers, caught.value.outcome) == ((), "fail")
    cluster.check.no_orphan_keys()
