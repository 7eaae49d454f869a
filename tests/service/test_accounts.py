"""Users, passwords and locks on one HSM."""

import pytest

from pytest_hsmcluster import AccountLocked, LoginFailed, TemplateInvalid, UsageError, UserType
from pytest_hsmcluster.service.accounts import Accounts, account


@pytest.fixture
def table():
    accounts = Accounts({})
    accounts.add(account("alice", "password1", UserType.CU, 1), 10, "hsm-1")
    return accounts


def fail(table, times, name="alice"):
    for _ in range(times):
        with pytest.raises(LoginFailed):
            table.authenticate(name, "wrong-pass", 5, "hsm-1")


def test_right_password_lets_in_whatever_the_case_of_the_name(table):
    """User names are not case-sensitive."""
    assert table.authenticate("ALICE", "password1", 5, "hsm-1").name == "alice"


def test_passwords_are_case_sensitive(table):
    """Password1 is not password1."""
    with pytest.raises(LoginFailed) as caught:
        table.authenticate("alice", "Password1", 5, "hsm-1")

    assert caught.value.hsm_code == 0xA3
    assert "RET_USER_LOGIN_FAILURE" in str(caught.value)


def test_unknown_user_has_a_code_of_its_own(table):
    """0x9d, as `loginHSM` prints it."""
    with pytest.raises(LoginFailed, match="user isn't initialized or user with this name doesn't exist") as caught:
        table.authenticate("bob", "password1", 5, "hsm-1")

    assert caught.value.hsm_code == 0x9D


def test_five_bad_passwords_do_not_lock(table):
    """More than five do."""
    fail(table, 5)

    assert table.authenticate("alice", "password1", 5, "hsm-1").name == "alice"


def test_more_than_five_bad_passwords_lock(table):
    """After the sixth even the right password is refused."""
    fail(table, 6)

    with pytest.raises(AccountLocked, match="an admin must reset the password"):
        table.authenticate("alice", "password1", 5, "hsm-1")


def test_good_password_forgets_the_bad_ones(table):
    """The counter begins anew."""
    fail(table, 5)
    table.authenticate("alice", "password1", 5, "hsm-1")
    fail(table, 5)

    assert not table.locked("alice", 5)


def test_copy_is_independent(table):
    """A snapshot does not change with the HSM that it was taken of."""
    fail(table, 2)
    copy = table.copy()
    fail(table, 4)

    assert table.locked("alice", 5)
    assert not copy.locked("alice", 5)
    assert copy.failures == {"alice": 2}


@pytest.mark.parametrize("name", ["", "a" * 32, "with space", "dash-ed", "ä", "a.b", None, 5])
def test_names_are_up_to_31_letters_digits_and_underscores(name):
    """Everything else is refused."""
    with pytest.raises(UsageError, match="a user name has 1 to 31 letters, digits and underscores"):
        account(name, "password1", UserType.CU, 1)


def test_longest_and_shortest_names_are_allowed():
    """31 characters, and 1."""
    assert account("A" * 31, "password1", UserType.CU, 1).name == "a" * 31
    assert account("_", "password1", UserType.CU, 1).name == "_"


@pytest.mark.parametrize("password", ["", "short67", "x" * 33, None])
def test_passwords_have_8_to_32_characters(password):
    """A password out of range is refused, and not shown."""
    with pytest.raises(UsageError, match="must have 8 to 32 characters") as caught:
        account("alice", password, UserType.CU, 1)

    assert "short67" not in str(caught.value)


def test_password_is_kept_as_a_digest_only():
    """Neither repr nor attributes show it."""
    known = account("alice", "password1", UserType.CU, 1)

    assert "password1" not in repr(known)
    assert "digest" not in repr(known)
    assert b"password1" not in known.digest


def test_equal_passwords_of_two_users_look_different():
    """The name is salt."""
    alice, bob = (account(name, "password1", UserType.CU, 1) for name in ("alice", "bob"))

    assert alice.digest != bob.digest


def test_name_can_be_taken_once(table):
    """One name, one user, on one HSM."""
    with pytest.raises(TemplateInvalid, match="user 'alice' exists on hsm-1 already"):
        table.add(account("Alice", "password2", UserType.CO, 2), 10, "hsm-1")


def test_full_table_takes_no_more(table):
    """The limit is the profile's."""
    with pytest.raises(TemplateInvalid, match="hsm-1 has 1 users already"):
        table.add(account("bob", "password2", UserType.CU, 2), 1, "hsm-1")


def test_numbers_are_small_and_never_shared(table):
    """A deleted user's number may come back, a living one's may not."""
    for name in ("bob", "carol"):
        table.add(account(name, "password1", UserType.CU, table.next_number()), 10, "hsm-1")
    del table.users["bob"]

    assert table.next_number() == 4
    assert Accounts({}).next_number() == 1
