"""What can be wrong with who may do what?"""

from typing import Any

from ..cluster import HsmCluster
from ..errors import AccountLocked, KeyAccessDenied, KeyFunctionNotPermitted, KeyUnextractable, LoginFailed
from ..history.events import Cause
from ..keys.mechanisms import default_mechanism
from ..service.calls import Call
from ..service.commands import Decrypt, DeriveKey, Encrypt, Sign, UnwrapKey, Verify, WrapKey
from ..service.commands.uses import Using
from ..service.hsm import Hsm
from ..service.keystore import StoredKey
from .mutant import Acted, Mutant, become, every_hsm, instead


def _open_door(cluster: HsmCluster, acted: Acted) -> None:
    class Open(Hsm):
        def authenticate(self, user: str, password: str, op: int) -> None:
            try:
                super().authenticate(user, password, op)
            except (LoginFailed, AccountLocked):
                acted()

    every_hsm(cluster, lambda hsm: become(hsm, Open))


def _open_keys(cluster: HsmCluster, acted: Acted) -> None:
    class Open(Hsm):
        def key_for(self, call: Call, handle: int) -> StoredKey:
            try:
                return super().key_for(call, handle)
            except KeyAccessDenied:
                acted()
                return self.store.keys[handle]

        def own_key(self, call: Call, handle: int) -> StoredKey:
            try:
                return super().own_key(call, handle)
            except KeyAccessDenied:
                acted()
                return self.store.keys[handle]

    every_hsm(cluster, lambda hsm: become(hsm, Open))


def _lax_attributes(cluster: HsmCluster, acted: Acted) -> None:
    def lax(use: type[Using]) -> type[Using]:
        class Lax(use):  # type: ignore[misc,valid-type]
            def admit(self, hsm: Hsm, call: Call) -> None:
                try:
                    super().admit(hsm, call)
                except (KeyFunctionNotPermitted, KeyUnextractable):
                    acted()
                    key = hsm.key_for(call, self.handle)
                    self.chosen: Any = self.mechanism
                    if self.mechanism is None:
                        self.chosen = default_mechanism(self.operation, key.material)

        return Lax

    instead(cluster, {use: lax(use) for use in (Encrypt, Decrypt, Sign, Verify, WrapKey, UnwrapKey, DeriveKey)})


def _immortal_session_keys(cluster: HsmCluster, acted: Acted) -> None:
    class Keeping(Hsm):
        def close_session(self, client: int, cause: Cause, op: int = 0) -> None:
            session = self._sessions.pop(client, None)
            if session is not None and any(key.session == session.number for key in self.store.keys.values()):
                acted()

    every_hsm(cluster, lambda hsm: become(hsm, Keeping))


ACCESS = (
    Mutant(
        "open-door",
        "every login is accepted, of unknown users and with wrong passwords too",
        "pytest.raises(LoginFailed), a client whose user an HSM does not have",
        _open_door,
        signs=("login",),
    ),
    Mutant(
        "open-keys",
        "everybody may use, wrap and delete everybody's keys",
        "pytest.raises(KeyAccessDenied) for another user, and after unshare_key()",
        _open_keys,
        signs=("KeyAccessDenied", "info"),
    ),
    Mutant(
        "lax-attributes",
        "attributes that forbid a use or a wrap are ignored",
        "pytest.raises(KeyFunctionNotPermitted), pytest.raises(KeyUnextractable)",
        _lax_attributes,
        signs=("KeyFunctionNotPermitted", "KeyUnextractable"),
    ),
    Mutant(
        "immortal-session-keys",
        "session keys stay when their session ends",
        "session_keys_stay_put() after a logout",
        _immortal_session_keys,
        signs=("held session key",),
    ),
)
