"""Who may log in to one HSM?

Accounts live on each HSM for itself: nothing reconciles them, and bad passwords are counted
per HSM (AWS CloudHSM User Guide, "Manage HSM users", `loginHSM`).
"""

import hashlib
import hmac
import re
from dataclasses import dataclass, field
from enum import StrEnum

from ..errors import AccountLocked, LoginFailed, TemplateInvalid, UsageError

NAME = re.compile(r"[A-Za-z0-9_]{1,31}")


class UserType(StrEnum):
    """User types by their SDK 3 names; SDK 5 says admin, crypto-user and internal."""

    CO = "CO"
    CU = "CU"
    AU = "AU"


@dataclass(frozen=True, slots=True)
class Account:
    """One user on one HSM; the password is kept as a salted SHA-256 only."""

    name: str
    type: UserType
    number: int
    digest: bytes = field(repr=False)


def account(name: str, password: str, type: UserType, number: int) -> Account:
    """Return an account.

    Raises:
        UsageError: the name is not 1–31 characters of letters, digits and `_`, or the password
            not 8–32 characters (User Guide, "createUser" and "Quotas").
    """
    if not isinstance(name, str) or not NAME.fullmatch(name):
        raise UsageError(f"a user name has 1 to 31 letters, digits and underscores; got {name!r}")
    if not isinstance(password, str) or not 8 <= len(password) <= 32:
        raise UsageError(f"the password of {name!r} must have 8 to 32 characters")
    return Account(name.lower(), UserType(type), number, _digest(name.lower(), password))


def _digest(name: str, password: str) -> bytes:
    return hashlib.sha256(f"{name}\0{password}".encode()).digest()


class Accounts:
    """The user table of one HSM.

    Attributes:
        users: name → account, in the order in which they were made.
        failures: name → bad passwords since the last good one.
    """

    __slots__ = ("failures", "users")

    def __init__(self, users: dict[str, Account], failures: dict[str, int] | None = None) -> None:
        self.users = users
        self.failures = failures or {}

    def copy(self) -> "Accounts":
        """Return an independent table with the same users and counters."""
        return Accounts(dict(self.users), dict(self.failures))

    def next_number(self) -> int:
        """Return the id of the next user: small numbers, each HSM's own, none given to two users at once."""
        return max((user.number for user in self.users.values()), default=0) + 1

    def locked(self, name: str, limit: int) -> bool:
        """Whether more than `limit` bad passwords have been tried on this HSM."""
        return self.failures.get(name, 0) > limit

    def authenticate(self, name: str, password: str, limit: int, hsm: str) -> Account:
        """Return the account, or refuse and count.

        Raises:
            LoginFailed: unknown user (HSM code 0x9d; newer HSMs 0xce) or wrong password (0xa3).
            AccountLocked: too many wrong passwords on this HSM.
        """
        known = self.users.get(name.lower())
        if known is None:
            raise LoginFailed(
                f"HSM Error: user isn't initialized or user with this name doesn't exist: {name!r} on {hsm}; "
                "accounts are not synchronised between HSMs: create the user there too",
                hsm=hsm,
                hsm_code=0x9D,
            )
        if self.locked(known.name, limit):
            raise AccountLocked(
                f"user {name!r} is locked on {hsm} after more than {limit} bad passwords; "
                "an admin must reset the password",
                hsm=hsm,
            )
        if not hmac.compare_digest(known.digest, _digest(known.name, password)):
            self.failures[known.name] = self.failures.get(known.name, 0) + 1
            raise LoginFailed(f"HSM Error: RET_USER_LOGIN_FAILURE: wrong password for {name!r} on {hsm}", hsm=hsm)
        self.failures.pop(known.name, None)
        return known

    def add(self, new: Account, capacity: int, hsm: str) -> None:
        """Put an account in.

        Raises:
            TemplateInvalid: the name is taken here, or the table is full.
        """
        if new.name in self.users:
            raise TemplateInvalid(f"user {new.name!r} exists on {hsm} already", hsm=hsm)
        if len(self.users) >= capacity:
            raise TemplateInvalid(f"{hsm} has {capacity} users already and takes no more", hsm=hsm)
        self.users[new.name] = new


def first_accounts(user: str, password: str) -> Accounts:
    """Return the users of a new, activated cluster: an admin, the service's own user, a crypto user."""
    users = (
        account("admin", password, UserType.CO, 1),
        account("app_user", password, UserType.AU, 2),
        account(user, password, UserType.CU, 3),
    )
    return Accounts({user.name: user for user in users})
