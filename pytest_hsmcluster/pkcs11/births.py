"""How does an application make keys: generate, import, unwrap, derive?"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ..client.handles import KeyHandle
from ..cryptoki import CKA, CKK, CKM, CKO, CKR
from ..keys.attributes import usable_template, wanted_size
from ..keys.parameters import EcdhParams
from ..keys.policy import GENERATIONS
from ..wire.frames import MechanismGiven
from .components import RSA_PARTS, imported
from .parameters import read_mechanism
from .refusals import Refused
from .sessions import Session
from .templates import CLASS_NAMES, Given, class_of, kind_of, read_template

if TYPE_CHECKING:
    from .application import Application

_ASKED_OTHERWISE = (CKA.CLASS, CKA.KEY_TYPE, CKA.TOKEN, CKA.LABEL)
"""What the call says already."""


class Births:
    """The functions that make keys."""

    def __init__(self, application: "Application") -> None:
        self._application = application

    def c_generate_key(self, session: Session, given: MechanismGiven | None, template: Given) -> list[Any]:
        mechanism, _ = read_mechanism(given)
        kind = _generated(mechanism, "generate")
        wanted = read_template(template)
        _agree(wanted, kind, CKO.SECRET_KEY)
        bits = int(wanted_size(kind, CKO.SECRET_KEY, wanted))
        attributes = _attributes(wanted, kind, CKO.SECRET_KEY, made_here=True)
        key = self._born(
            session,
            wanted,
            lambda label, token: session.access.client.generate_key(
                kind, bits, label=label, token=token, template=attributes
            ),
        )
        return [b"", key]

    def c_generate_key_pair(
        self, session: Session, given: MechanismGiven | None, public: Given, private: Given
    ) -> list[Any]:
        mechanism, _ = read_mechanism(given)
        kind = _generated(mechanism, "generate")
        wanted, secret = read_template(public), read_template(private)
        _agree(wanted, kind, CKO.PUBLIC_KEY)
        _agree(secret, kind, CKO.PRIVATE_KEY)
        if wanted.get(CKA.TOKEN, False) != secret.get(CKA.TOKEN, False):
            # A guess, like the code.
            raise Refused(CKR.TEMPLATE_INCONSISTENT, "CKA_TOKEN: both halves of a pair live in one place")
        size = wanted_size(kind, CKO.PUBLIC_KEY, wanted)
        if kind == "EC":
            secret.setdefault(CKA.EC_PARAMS, wanted[CKA.EC_PARAMS])
        attributes = _attributes(secret, kind, CKO.PRIVATE_KEY)
        of_public = _attributes(wanted, kind, CKO.PUBLIC_KEY)
        if wanted.get(CKA.LABEL):  # an empty one is the default, and says nothing
            of_public[CKA.LABEL] = wanted[CKA.LABEL]
        handles: list[KeyHandle] = []

        def made(label: str, token: bool) -> KeyHandle:
            pair = session.access.client.generate_key_pair(
                kind, size, label=label, token=token, template=attributes, public_template=of_public
            )
            handles.append(pair.public)
            return pair.private

        number = self._born(session, {**secret, CKA.TOKEN: wanted.get(CKA.TOKEN, False)}, made)
        return [b"", self._application.give(session, handles[0]), number]

    def c_create_object(self, session: Session, template: Given) -> list[Any]:
        secrets = {number: raw for number, raw in template or () if number in RSA_PARTS}
        wanted = read_template(tuple(one for one in template or () if one[0] not in RSA_PARTS))
        part, kind = class_of(wanted), kind_of(wanted)
        raw = imported(kind, part, wanted, secrets)
        attributes = _attributes(wanted, kind, part)
        key = self._born(
            session,
            wanted,
            lambda label, token: session.access.client.import_key(
                kind, raw, cls=CLASS_NAMES[part], label=label, token=token, template=attributes
            ),
        )
        return [key]

    def c_unwrap_key(
        self, session: Session, given: MechanismGiven | None, unwrapping: int, blob: bytes | None, template: Given
    ) -> list[Any]:
        mechanism, params = read_mechanism(given)
        wanted = read_template(template)
        part, kind = class_of(wanted), kind_of(wanted)
        with_key = session.access.object(unwrapping, session, "unwrap_key", CKR.UNWRAPPING_KEY_HANDLE_INVALID).key
        attributes = _attributes(wanted, kind, part)
        attributes.pop(CKA.VALUE_LEN, None)
        key = self._born(
            session,
            wanted,
            lambda label, token: session.access.client.unwrap_key(
                blob or b"",
                with_key=with_key,
                kind=kind,
                cls=CLASS_NAMES[part],
                label=label,
                token=token,
                template=attributes,
                mechanism=mechanism,
                params=params,
            ),
        )
        return [b"", key]

    def c_derive_key(self, session: Session, given: MechanismGiven | None, base: int, template: Given) -> list[Any]:
        wanted = read_template(template)
        kind = kind_of({CKA.KEY_TYPE: CKK.GENERIC_SECRET, **wanted})  # a guess where the template says nothing
        nbytes = 24 if kind == "DES3" else wanted.get(CKA.VALUE_LEN, 0)
        mechanism, params = read_mechanism(given, nbytes)
        base_key = session.access.object(base, session, "derive_key").key
        if not nbytes and not isinstance(params, EcdhParams):
            raise Refused(CKR.TEMPLATE_INCOMPLETE, "the template needs CKA_VALUE_LEN: nothing else says how long it is")
        attributes = _attributes(wanted, kind, CKO.SECRET_KEY)
        key = self._born(
            session,
            wanted,
            lambda label, token: session.access.client.derive_key(
                base_key,
                params,
                kind=kind,
                bits=nbytes * 8,
                label=label,
                token=token,
                template=attributes,
                mechanism=mechanism,
            ),
        )
        return [b"", key]

    def _born(self, session: Session, wanted: Mapping[CKA, Any], make: Any) -> int:
        """Make a key and return its object handle."""
        access = session.access
        access.check_login()
        access.sweep_up()
        return self._application.give(session, make(wanted.get(CKA.LABEL, ""), wanted.get(CKA.TOKEN, False)))


def _generated(mechanism: CKM, operation: str) -> str:
    if mechanism not in GENERATIONS:
        raise Refused(CKR.MECHANISM_INVALID, f"CKM_{mechanism.name} makes no keys")
    return GENERATIONS[mechanism]


def _agree(wanted: Mapping[CKA, Any], kind: str, part: CKO) -> None:
    if wanted.get(CKA.CLASS, part) != part or (CKA.KEY_TYPE in wanted and kind_of(wanted) != kind):
        raise Refused(
            CKR.TEMPLATE_INCONSISTENT, f"the mechanism makes {kind} {part.name.lower()}s, the template does not"
        )


def _attributes(wanted: Mapping[CKA, Any], kind: str, part: CKO, made_here: bool = False) -> dict[CKA, Any]:
    """Return the attributes of a new key as PKCS#11 has them: what nobody asks for is false, and not what suits.

    Source:
        AWS CloudHSM User Guide, "PKCS #11 library attributes tables": all uses are false, except that `C_GenerateKey`
        lets a secret key sign and verify.
    """
    attributes: dict[CKA, Any] = dict.fromkeys(usable_template(kind, part), False)
    if made_here:
        attributes.update({CKA.SIGN: kind != "DES3", CKA.VERIFY: kind != "DES3"})
    if kind == "DES3":
        attributes = {name: value for name, value in attributes.items() if name not in (CKA.SIGN, CKA.VERIFY)}
    attributes.update((name, value) for name, value in wanted.items() if name not in _ASKED_OTHERWISE)
    return attributes
