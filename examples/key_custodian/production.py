"""How does the nightly job look in production, where all that it has of the HSMs is a PKCS #11 library?

It is given the path of the library, the label of a token and a PIN; it knows nothing else, and the same file runs on
`/opt/cloudhsm/lib/libcloudhsm_pkcs11.so`.  The night is that of `hardened.py`.  Two things are different:

1. PKCS #11 hides the handles of the HSMs: an object handle means its key in one session only.  So the ledger names a
   key by its CKA_ID: a number that the ledger gave out before the key was asked for, and never gives out again.
2. PKCS #11 cannot share keys, and CloudHSM's library has no `C_SetAttributeValue`.  Sharing is a command of the
   operator's tool: `cloudhsm-cli key share --filter attr.id=0x… --username … --role crypto-user`.  The job says which
   key and which user, and an `Operator` does it; whether that is the tool itself or a queue that somebody works off is
   decided where the job is deployed.
"""

import time
from collections.abc import Callable, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from typing import Any, ClassVar, Final, Protocol, TypeVar

import pkcs11
from pkcs11 import Attribute, KeyType, Mechanism, MechanismFlag, ObjectClass
from pkcs11.constants import DEFAULT
from pkcs11.util.ec import encode_named_curve_parameters

from examples import pkcs11_session
from examples.pkcs11_session import NAMES_NOTHING, PASSING, Connection, look_for

from .inventory import Inventory, KeyPlan
from .ledger import Ledger
from .night import Hsm, Night
from .notes import Notes
from .patience import Patience

T = TypeVar("T")

DAY_S: Final = 86_400
ID_BYTES: Final = 8
CANARY: Final = b"the custodian was here"
HIDDEN: Final[dict[Attribute, Any]] = {Attribute.SENSITIVE: True, Attribute.PRIVATE: True, Attribute.EXTRACTABLE: False}
CLASSES: Final = {
    ObjectClass.SECRET_KEY: "secret",
    ObjectClass.PRIVATE_KEY: "private",
    ObjectClass.PUBLIC_KEY: "public",
}
CIPHER_ONLY: Final = (Attribute.ENCRYPT, Attribute.DECRYPT, Attribute.WRAP, Attribute.UNWRAP)
"""CloudHSM refuses these for a generic secret, even as false; python-pkcs11 has to be told to leave them out."""
SIGNING: Final = {KeyType.EC: Mechanism.ECDSA_SHA256, KeyType.GENERIC_SECRET: Mechanism.SHA256_HMAC}
USES: Final = {
    (KeyType.AES, "secret"): ("encrypt", "decrypt"),
    (KeyType.GENERIC_SECRET, "secret"): ("sign", "verify"),
    (KeyType.EC, "private"): ("sign",),
    (KeyType.EC, "public"): ("verify",),
}


class KeyGone(Exception):
    """No HSM that was asked shows the key that is to be deleted."""


class OperatorFailed(Exception):
    """The operator's tool could not do it, now."""


class Operator(Protocol):
    """Who shares keys.  Both methods raise OperatorFailed; saying a thing twice does no harm."""

    def share(self, label: str, key_id: bytes, user: str) -> None:
        """Let a crypto user use the secret or private key with this CKA_ID."""

    def unshare(self, label: str, key_id: bytes, user: str) -> None:
        """Let him use it no longer."""


@dataclass(frozen=True, slots=True)
class NamedKey:
    """A key as the job knows it.

    Attributes:
        id: CKA_ID; both halves of a pair have the same.
        label: CKA_LABEL.
        cls: `secret`, `private` or `public`.
        kind: CKA_KEY_TYPE.
        found: the object, of the present session.
    """

    id: bytes
    label: str
    cls: str
    kind: KeyType
    found: Any

    @property
    def number(self) -> int:
        """A number that no other key has."""
        return number_of(self.id, self.cls)


def number_of(key_id: bytes, cls: str) -> int:
    """Return the number of a key for the ledger."""
    return int.from_bytes(key_id, "big") * 2 + (cls == "public")


class Pkcs11Hsm:
    """What a night asks of an HSM client, asked of a PKCS #11 library.

    Args:
        connection: to the token.
        ledger: gives out numbers.
        operator: shares keys.
    """

    def __init__(self, connection: Connection, ledger: Ledger, operator: Operator) -> None:
        self._connection = connection
        self._ledger = ledger
        self._operator = operator
        self._fresh: dict[int, NamedKey] = {}
        self._era = 0

    def close(self) -> None:
        self._connection.close()

    def find_keys(self, label: str | None = None) -> list[NamedKey]:
        """Return the keys with this label, or all."""
        return self._asked(lambda session: self._found(session, {} if label is None else {Attribute.LABEL: label}))

    def create(self, plan: KeyPlan, label: str) -> list[NamedKey]:
        """Create the key of a plan and return it, or both halves of a pair, the private one first."""
        key_id = self._ledger.next_number().to_bytes(ID_BYTES, "big")

        def make(session: pkcs11.Session) -> list[NamedKey]:
            # C_GenerateKey never says so: the key was made, and then read where it is not yet.
            with suppress(*NAMES_NOTHING):
                (_pair if plan.is_pair else _secret)(session, plan, label, key_id)
            found = self._found(session, {Attribute.LABEL: label, Attribute.ID: key_id})
            if len(found) != 1 + plan.is_pair:
                raise pkcs11.FunctionFailed(f"{label} was made and cannot be seen")
            return sorted(found, key=lambda key: key.number)

        return self._asked(make)

    def use(self, keys: Sequence[NamedKey]) -> None:
        """Do with a key what its service does with it."""

        def use(session: pkcs11.Session) -> None:
            whole = [self._whole(session, key) for key in keys]
            if keys[0].kind is KeyType.AES:
                if pkcs11_session.decrypt(whole[0], pkcs11_session.encrypt(whole[0], CANARY)) != CANARY:
                    raise pkcs11.FunctionFailed("it does not give back what it was given")
                return
            mechanism = SIGNING[keys[0].kind]
            if not whole[-1].verify(CANARY, whole[0].sign(CANARY, mechanism=mechanism), mechanism=mechanism):
                raise pkcs11.FunctionFailed("it does not verify what it signed")

        self._asked(use)

    def share_key(self, key: NamedKey, *, with_user: str) -> None:
        """Have a user let use a key."""
        self._operator.share(key.label, key.id, with_user)

    def unshare_key(self, key: NamedKey, *, with_user: str) -> None:
        """Have him let use it no longer."""
        self._operator.unshare(key.label, key.id, with_user)

    def delete_key(self, key: NamedKey) -> None:
        """Delete a key everywhere.

        Raises:
            KeyGone: it is not there.
        """
        self._fresh.pop(key.number, None)
        wanted = {Attribute.ID: key.id, Attribute.LABEL: key.label, Attribute.CLASS: _class(key.cls)}

        def delete(session: pkcs11.Session) -> None:
            found = look_for(session, wanted, lambda one: True)
            if not found:
                raise KeyGone(key.label)
            for one in found:
                one.destroy()

        self._asked(delete)

    # -- inside ------------------------------------------------------------------------------

    def _found(self, session: pkcs11.Session, wanted: dict[Attribute, Any]) -> list[NamedKey]:
        named: list[NamedKey] = []

        def is_whole(found: Any) -> bool:
            try:
                key = _named(found)
            except (*NAMES_NOTHING, pkcs11.FunctionFailed):
                return False
            named.append(key)
            return all(hasattr(found, use) for use in USES.get((key.kind, key.cls), ()))

        objects = look_for(session, wanted, is_whole)
        last = named[len(named) - len(objects) :]
        if [key.found for key in last] != objects:
            raise pkcs11.FunctionFailed("the attributes of keys could not be read")
        self._fresh.update((key.number, key) for key in last)
        return last

    def _whole(self, session: pkcs11.Session, key: NamedKey) -> Any:
        """Return the object of a key in the present session."""
        if key.number not in self._fresh:
            self._found(session, {Attribute.LABEL: key.label, Attribute.ID: key.id})
        known = self._fresh.get(key.number)
        if known is None:
            raise pkcs11.KeyHandleInvalid(f"no HSM shows {key.label}")
        return known.found

    def _asked(self, call: Callable[[pkcs11.Session], T]) -> T:
        def with_these_objects(session: pkcs11.Session) -> T:
            if self._era != self._connection.era:
                self._era = self._connection.era
                self._fresh.clear()
            return call(session)

        return self._connection.ask(with_these_objects)


def _secret(session: pkcs11.Session, plan: KeyPlan, label: str, key_id: bytes) -> None:
    uses, template = MechanismFlag.ENCRYPT | MechanismFlag.DECRYPT, dict(HIDDEN)
    if plan.kind == "GENERIC_SECRET":
        uses = MechanismFlag.SIGN | MechanismFlag.VERIFY
        template |= dict.fromkeys(CIPHER_ONLY, DEFAULT)
    session.generate_key(
        KeyType[plan.kind], int(plan.size), id=key_id, label=label, store=True, capabilities=uses, template=template
    )


def _pair(session: pkcs11.Session, plan: KeyPlan, label: str, key_id: bytes) -> None:
    curve = {Attribute.EC_PARAMS: encode_named_curve_parameters(str(plan.size))}
    session.create_domain_parameters(KeyType[plan.kind], curve, local=True).generate_keypair(
        id=key_id,
        label=label,
        store=True,
        capabilities=MechanismFlag.SIGN | MechanismFlag.VERIFY,
        public_template={Attribute.PRIVATE: True},
        private_template=HIDDEN,
    )


def _named(found: Any) -> NamedKey:
    read = found.get_attributes([Attribute.ID, Attribute.LABEL, Attribute.CLASS, Attribute.KEY_TYPE])
    kind = KeyType(read[Attribute.KEY_TYPE])
    return NamedKey(read[Attribute.ID], read[Attribute.LABEL], CLASSES[ObjectClass(read[Attribute.CLASS])], kind, found)


def _class(cls: str) -> ObjectClass:
    return next(number for number, name in CLASSES.items() if name == cls)


class NightReport(Notes):
    """One night."""

    refusals: ClassVar[tuple[type[Exception], ...]] = (pkcs11.PKCS11Error, OperatorFailed)


class ProductionCustodian:
    """The nightly job, on a PKCS #11 library and the clock of the machine.

    Args:
        inventory: which keys there should be.
        ledger: what has been made, and what was about to be.
        module: path of the library.
        token_label: of the token: `hsm1` with SDK 5, `cavium` with SDK 3.
        pin: `<crypto user>:<password>`, of the user who owns the keys.
        operator: shares keys.
        hsms: how many HSMs the cluster has when it is whole.
        now: seconds since some day 0.
    """

    def __init__(
        self,
        inventory: Inventory,
        ledger: Ledger,
        *,
        module: str,
        token_label: str,
        pin: str,
        operator: Operator,
        hsms: int = 3,
        now: Callable[[], float] = lambda: time.time(),
    ) -> None:
        self._inventory = inventory
        self._ledger = ledger
        self._pkcs11 = (module, token_label, pin)
        self._operator = operator
        self._hsms = hsms
        self._now = now
        self._patience = Patience(lambda seconds: time.sleep(seconds), (*PASSING, OperatorFailed))

    def run(self) -> NightReport:
        """Do one night's work and say what was done, and what was not managed and is left to the next night."""
        report = NightReport(int(self._now() // DAY_S))
        connection = Connection(*self._pkcs11)
        with report.attempt("log in"), closing(connection):
            self._patience.retry(lambda: connection.ask(lambda session: None))
            hsm = self._hsm(connection)
            Night(hsm, report, self._inventory, self._ledger, self._patience, self._hsms, (KeyGone,)).work()
        return report

    def _hsm(self, connection: Connection) -> Hsm:
        return Pkcs11Hsm(connection, self._ledger, self._operator)
