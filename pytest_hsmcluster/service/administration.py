"""What do administrators do, and what do they see?

Accounts are written to the HSMs that can be reached at that moment, and stay different where
that failed: the service reconciles keys only (AWS CloudHSM User Guide, "Keep HSM users in sync").
"""

from collections.abc import Sequence

from ..cryptoki import CKA
from ..drivers.turnstile import one_at_a_time
from ..errors import UsageError
from ..history.events import Kind
from .accounts import Account, UserType, account
from .audit import Opcode
from .commands import change_attribute
from .hsm import Hsm, HsmState
from .service import Service


@one_at_a_time
class Administration:
    """The work of a crypto officer, and CloudWatch's and the CLI's view of a cluster."""

    def __init__(self, service: Service) -> None:
        self.scheduler = service.world.scheduler
        self._service = service

    # -- users ----------------------------------------------------------------------------

    def create_user(self, name: str, password: str, type: str = "CU", hsms: Sequence[str] | None = None) -> list[str]:
        """Create a user on every HSM that is up, or on the named ones, and return their ids.

        An HSM that has a user of that name keeps the one it has.

        Raises:
            UsageError: a name, password or type that is not allowed, or no HSM is up.
            TemplateInvalid: an HSM has as many users as it can have.
        """
        if type not in (UserType.CU, UserType.CO):
            raise UsageError(f"a user is made as 'CU' (crypto user) or 'CO' (crypto officer, admin); got {type!r}")
        account(name, password, UserType(type), 0)  # refused before anything is written
        written = []
        for hsm in self._reached(hsms):
            if name.lower() in hsm.accounts.users:
                continue
            new = account(name, password, UserType(type), hsm.accounts.next_number())
            hsm.accounts.add(new, hsm.profile.user_capacity, hsm.id)
            hsm.log(Opcode.CREATE_CO if new.type is UserType.CO else Opcode.CREATE_USER, user=new.name)
            self._write(hsm, new.name, new.type, "created")
            written.append(hsm.id)
        return written

    def change_password(self, name: str, password: str, hsms: Sequence[str] | None = None) -> list[str]:
        """Set a new password, which also unlocks the account, and return the ids of the HSMs that took it.

        Raises:
            UsageError: no such user on an HSM that was reached, or he is logged in there.
        """
        written = []
        for hsm in self._reached(hsms):
            old = self._user(hsm, name)
            hsm.accounts.users[old.name] = account(old.name, password, old.type, old.number)
            locked = hsm.accounts.locked(old.name, hsm.profile.lockout_after)
            hsm.accounts.failures.pop(old.name, None)
            hsm.log(Opcode.CHANGE_PSWD, user=old.name)
            self._write(hsm, old.name, old.type, "password")
            if locked:
                self._write(hsm, old.name, old.type, "unlocked")
            written.append(hsm.id)
        return written

    def delete_user(self, name: str, hsms: Sequence[str] | None = None) -> list[str]:
        """Delete a user and return the ids of the HSMs that did it.

        Raises:
            UsageError: he owns keys, or is logged in (User Guide, "deleteUser"), or does not exist there.
        """
        reached = self._reached(hsms)
        for hsm in reached:
            user = self._user(hsm, name)
            owned = [key.label for key in hsm.store.keys.values() if key.owner == user.name]
            if owned:
                raise UsageError(
                    f"user {user.name!r} owns {len(owned)} keys on {hsm.id} and cannot be deleted; delete them first"
                )
        for hsm in reached:
            self.forget_user(hsm, name)
        return [hsm.id for hsm in reached]

    def forget_user(self, hsm: Hsm, name: str) -> None:
        """Take a user out of one HSM's table, whatever he owns; this is how tables drift apart."""
        user = hsm.accounts.users.pop(name.lower(), None)
        if user is not None:
            hsm.log(Opcode.DELETE_USER, user=user.name)
            self._write(hsm, user.name, user.type, "deleted")

    def recall_user(self, hsm: Hsm, user: Account) -> None:
        """Put a user back into one HSM's table, unless it has one of that name."""
        if user.name not in hsm.accounts.users:
            hsm.accounts.users[user.name] = user
            hsm.log(Opcode.CREATE_USER, user=user.name)
            self._write(hsm, user.name, user.type, "created")

    def trust_key(self, handle: int) -> list[str]:
        """Set CKA_TRUSTED, which only a crypto officer may, and return the ids of the HSMs that did it.

        Raises:
            UsageError: no HSM that is up holds the key.
        """
        holders = [hsm for hsm in self._reached(None) if handle in hsm.store.keys]
        if not holders:
            raise UsageError(f"no HSM that is up holds key {handle}")
        for hsm in holders:
            change_attribute(hsm, handle, CKA.TRUSTED, True, 0, by_officer=True)
            hsm.log(Opcode.MODIFY_OBJECT, handles=(handle,))
        return [hsm.id for hsm in holders]

    # -- views ----------------------------------------------------------------------------

    def key_coverage(self, handle: int) -> str:
        """Return `full` when all current members hold the key, attributes and shares equal, else `inconsistent`.

        Raises:
            UsageError: no member holds it.
        """
        copies = [hsm.store.keys.get(handle) for hsm in self._current()]
        if not any(copies):
            raise UsageError(f"no HSM holds key {handle}")
        seen = [None if key is None else (key.mat, key.attributes, key.owner, key.shares) for key in copies]
        return "full" if all(one == seen[0] for one in seen) else "inconsistent"

    def user_coverage(self, name: str) -> str:
        """Return `full` when all current members have the user with the same type and password, else `inconsistent`.

        Raises:
            UsageError: no member has him.
        """
        limit = self._service.world.profile.lockout_after
        seen = []
        for hsm in self._current():
            user = hsm.accounts.users.get(name.lower())
            seen.append(None if user is None else (user.type, user.digest, hsm.accounts.locked(user.name, limit)))
        if not any(seen):
            raise UsageError(f"no HSM has a user {name!r}")
        return "full" if all(one == seen[0] for one in seen) else "inconsistent"

    def metrics(self) -> dict[str, dict[str, int]]:
        """Return what CloudWatch shows in the namespace `AWS/CloudHSM`: HSM id → metric → value.

        A lost HSM is not in it; one that is off or paused is unhealthy and shows its last counts.

        Source:
            AWS CloudHSM User Guide, "Monitoring with CloudWatch metrics".
        """
        return {hsm.id: _metrics(hsm) for hsm in self._current()}

    # -- inside ----------------------------------------------------------------------------

    def _current(self) -> list[Hsm]:
        return [hsm for hsm in self._service.members if hsm.state is not HsmState.JOINING]

    def _reached(self, hsms: Sequence[str] | None) -> list[Hsm]:
        chosen = self._service.members if hsms is None else [self._service.hsm(id) for id in hsms]
        reached = [hsm for hsm in chosen if hsm.state is HsmState.UP]
        if not reached:
            raise UsageError("no HSM is up that an administrator could reach")
        return reached

    def _user(self, hsm: Hsm, name: str) -> Account:
        user = hsm.accounts.users.get(name.lower())
        if user is None:
            raise UsageError(f"{hsm.id} has no user {name!r}; it has {', '.join(hsm.accounts.users)}")
        if hsm.logged_in(user.name):
            raise UsageError(f'user {name!r} is logged in on {hsm.id}; log out first (User Guide, "deleteUser")')
        return user

    def _write(self, hsm: Hsm, name: str, type: UserType, action: str) -> None:
        hsm.users_written()
        world = self._service.world
        world.journal.append((Kind.USER, world.scheduler.now_ns, 0, hsm.id, name, str(type), action))


def _metrics(hsm: Hsm) -> dict[str, int]:
    token = sum(1 for _ in hsm.store.token_keys()) + len(hsm.store.tombstones)
    return {
        "HsmUnhealthy": int(hsm.state is not HsmState.UP),
        "HsmKeysSessionOccupied": len(hsm.store.keys) + len(hsm.store.tombstones) - token,
        "HsmKeysTokenOccupied": token,
        "HsmSessionCount": hsm.session_count,
        "HsmUsersAvailable": hsm.profile.user_capacity - len(hsm.accounts.users),
        "HsmUsersMax": hsm.profile.user_capacity,
    }
