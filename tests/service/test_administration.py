"""What administrators do, and what they see."""

import pytest

from pytest_hsmcluster import CKA, TemplateInvalid, UsageError


def test_new_cluster_has_an_admin_the_services_user_and_a_crypto_user(build):
    """Activated: the admin is 1, app_user 2."""
    cluster = build(2)

    for hsm in cluster.hsms:
        assert [(u.name, u.type, u.number) for u in hsm.accounts.users.values()] == [
            ("admin", "CO", 1),
            ("app_user", "AU", 2),
            ("crypto_user", "CU", 3),
        ]


def test_user_is_made_on_every_hsm_that_is_up(build):
    """One that is off misses it, for good."""
    cluster = build(3)
    with cluster.chaos.crash("hsm-2"):
        assert cluster.create_user("Alice", "password1") == ["hsm-1", "hsm-3"]
    cluster.clock.advance(86400)

    assert ["alice" in hsm.users for hsm in cluster.hsms] == [True, False, True]
    assert cluster.coverage("alice") == "inconsistent"


def test_repeating_the_create_repairs_a_missing_user(build):
    """As documented: create again, and coverage is full; with the same password."""
    cluster = build(2)
    cluster.create_user("alice", "password1", hsms=["hsm-1"])

    assert cluster.create_user("alice", "password1") == ["hsm-2"]
    assert cluster.coverage("alice") == "full"


def test_coverage_of_one_hsm_is_full_and_flips_when_another_joins_without_the_user(build):
    """Full means on all current members, not durable."""
    cluster = build(1)
    cluster.add_hsm("b")
    cluster.clock.advance(60)
    cluster.create_user("late", "password1")
    assert cluster.coverage("late") == "full"

    cluster.clock.advance(300)

    assert cluster.coverage("late") == "inconsistent"
    assert cluster.coverage(cluster.default_user) == "full"


def test_same_name_with_two_roles_is_inconsistent(build):
    """A crypto user here, an officer there."""
    cluster = build(2)
    cluster.create_user("alice", "password1", "CU", hsms=["hsm-1"])
    cluster.create_user("alice", "password1", "CO", hsms=["hsm-2"])

    assert cluster.coverage("alice") == "inconsistent"


def test_password_changed_on_one_hsm_only_lets_in_there_only(build):
    """Passwords are not reconciled."""
    cluster = build(2)
    cluster.create_user("alice", "password1")
    cluster.admin.change_password("alice", "password2", hsms=["hsm-2"])
    cluster.clock.advance(3600)

    cluster.hsm("hsm-1").authenticate("alice", "password1", 0)
    cluster.hsm("hsm-2").authenticate("alice", "password2", 0)
    assert cluster.coverage("alice") == "inconsistent"


@pytest.mark.parametrize("kind", ["XX", "AU", "cu", None, 3])
def test_only_crypto_users_and_officers_can_be_made(build, kind):
    """The service's own user is nobody's to make."""
    with pytest.raises(UsageError, match="a user is made as 'CU' .* or 'CO'"):
        build(1).create_user("alice", "password1", kind)


@pytest.mark.parametrize("name", ["", "with space", 5, None])
def test_bad_name_is_refused(build, name):
    """Before anything is written."""
    with pytest.raises(UsageError, match="a user name has 1 to 31 letters, digits and underscores"):
        build(1).create_user(name, "password1")


@pytest.mark.parametrize("password", ["short", "x" * 33])
def test_bad_password_changes_nothing(build, password):
    """Refused before anything is written, and not shown."""
    cluster = build(2)

    with pytest.raises(UsageError) as caught:
        cluster.create_user("alice", password)

    assert password not in str(caught.value)
    assert all("alice" not in hsm.users for hsm in cluster.hsms)


def test_user_who_owns_keys_cannot_be_deleted(build):
    """Delete the keys first."""
    cluster = build(2)
    cluster.create_user("alice", "password1")
    client = cluster.client(login=False)
    client.login("alice", "password1")
    key = client.generate_key("AES", 256, label="k")
    client.logout()
    with pytest.raises(UsageError, match="'alice' owns 1 keys on hsm-1 and cannot be deleted"):
        cluster.admin.delete_user("alice")

    client.login("alice", "password1")
    client.delete_key(key)
    client.logout()

    assert cluster.admin.delete_user("alice") == ["hsm-1", "hsm-2"]
    with pytest.raises(UsageError, match="no HSM has a user 'alice'"):
        cluster.coverage("alice")


@pytest.mark.parametrize("change", ["delete_user", "change_password"])
def test_logged_in_user_can_neither_be_deleted_nor_get_a_new_password(build, change):
    """He logs out first."""
    cluster = build(1)
    cluster.create_user("alice", "password1")
    client = cluster.client(login=False)
    client.login("alice", "password1")
    arguments = ("alice",) if change == "delete_user" else ("alice", "password2")

    with pytest.raises(UsageError, match="'alice' is logged in on hsm-1; log out first"):
        getattr(cluster.admin, change)(*arguments)
    client.logout()
    getattr(cluster.admin, change)(*arguments)


def test_unknown_user_and_unknown_hsm_are_refused(build):
    """With what there is."""
    cluster = build(1)

    with pytest.raises(UsageError, match="hsm-1 has no user 'nobody'; it has admin, app_user, crypto_user"):
        cluster.admin.change_password("nobody", "password1")
    with pytest.raises(UsageError, match="this cluster has no HSM 'hsm-9'; it has hsm-1"):
        cluster.create_user("alice", "password1", hsms=["hsm-9"])


def test_nobody_administers_a_cluster_that_is_off(build):
    """No HSM is up."""
    cluster = build(1)
    cluster.chaos.crash("hsm-1")

    with pytest.raises(UsageError, match="no HSM is up that an administrator could reach"):
        cluster.create_user("alice", "password1")


def test_user_table_is_full_at_its_limit(build):
    """A limit of the profile."""
    cluster = build(1, user_capacity=4)
    cluster.create_user("alice", "password1")

    with pytest.raises(TemplateInvalid, match="hsm-1 has 4 users already"):
        cluster.create_user("bob", "password1")


def test_only_an_officer_trusts_a_key(build):
    """CKA_TRUSTED is refused to the owner and set by an admin, on every HSM that is up."""
    cluster = build(2)
    client = cluster.client()
    key = client.generate_key("AES", 256, label="k")

    with pytest.raises(TemplateInvalid, match="only a crypto officer"):
        client.set_attribute(key, CKA.TRUSTED, True)
    assert cluster.admin.trust_key(key.number) == ["hsm-1", "hsm-2"]

    assert all(hsm.keys[key.number].attributes[CKA.TRUSTED] is True for hsm in cluster.hsms)
    with pytest.raises(UsageError, match="no HSM that is up holds key 99"):
        cluster.admin.trust_key(99)


def test_coverage_of_a_key_compares_presence_attributes_owner_and_shares(build, partial):
    """Full when all members agree."""
    cluster = build(3, sweep=False)
    client, key = partial(cluster)
    assert cluster.coverage(key) == "inconsistent"

    cluster.sweep_now()
    assert cluster.coverage(key) == "full"

    client.delete_key(key)
    with pytest.raises(UsageError, match=f"no HSM holds key {key.number}"):
        cluster.coverage(key)


def test_metrics_have_cloudwatchs_names(build):
    """Per HSM, as the namespace AWS/CloudHSM names them."""
    cluster = build(2)
    client = cluster.client()
    client.generate_key("AES", 256, label="t")
    client.generate_key("AES", 256, label="s", token=False)

    metrics = cluster.metrics()

    assert list(metrics) == ["hsm-1", "hsm-2"]
    assert sorted(metrics["hsm-1"]) == [
        "HsmKeysSessionOccupied",
        "HsmKeysTokenOccupied",
        "HsmSessionCount",
        "HsmUnhealthy",
        "HsmUsersAvailable",
        "HsmUsersMax",
    ]
    assert [one["HsmKeysTokenOccupied"] for one in metrics.values()] == [1, 1]
    assert sum(one["HsmKeysSessionOccupied"] for one in metrics.values()) == 1
    assert [one["HsmSessionCount"] for one in metrics.values()] == [1, 1]
    assert metrics["hsm-1"]["HsmUsersMax"] - metrics["hsm-1"]["HsmUsersAvailable"] == 3


def test_metrics_show_a_sync_problem_and_an_unhealthy_hsm(build, partial):
    """The difference of key counts, and HsmUnhealthy: what AWS advises to alarm on."""
    cluster = build(3, sweep=False)
    partial(cluster)
    cluster.chaos.crash("hsm-3")

    metrics = cluster.metrics()

    assert [one["HsmKeysTokenOccupied"] for one in metrics.values()] == [1, 0, 0]
    assert [one["HsmUnhealthy"] for one in metrics.values()] == [0, 0, 1]


def test_lost_and_joining_hsms_are_in_no_metric(build):
    """CloudWatch shows current members."""
    cluster = build(2)
    cluster.chaos.replace("hsm-1")

    assert list(cluster.metrics()) == ["hsm-2"]
    cluster.clock.advance(320)
    assert list(cluster.metrics()) == ["hsm-2", "hsm-3"]
