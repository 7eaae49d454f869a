"""Which mechanism may be used for what, and which does the cluster's policy forbid?"""

import difflib
from collections.abc import Container, Mapping
from typing import Final

from ..cryptoki import CKA, CKM, CKR
from ..errors import DataInvalid, MechanismInvalid, TemplateInvalid, UsageError
from .curves import POLICY_CODE, POLICY_TEXT
from .derivation import DERIVATIONS
from .ecdsa import SIGNATURES as EC_SIGNATURES
from .families import Cipher, Signature
from .hashing import DIGESTS
from .kinds import check_kind
from .mac import SIGNATURES as SECRET_SIGNATURES
from .rsa import CIPHERS as RSA_CIPHERS
from .rsa import SIGNATURES as RSA_SIGNATURES
from .symmetric import CIPHERS as BLOCK_CIPHERS
from .wrapping import WRAPPINGS

Mechanism = CKM | int | str

CIPHERS: Final[Mapping[Mechanism, Cipher]] = {
    mechanism: row for table in (BLOCK_CIPHERS, RSA_CIPHERS) for mechanism, row in table.items()
}
SIGNATURES: Final[Mapping[Mechanism, Signature]] = {
    mechanism: row for table in (SECRET_SIGNATURES, RSA_SIGNATURES, EC_SIGNATURES) for mechanism, row in table.items()
}

GENERATIONS: Final[Mapping[CKM, str]] = {
    CKM.AES_KEY_GEN: "AES",
    CKM.DES3_KEY_GEN: "DES3",
    CKM.GENERIC_SECRET_KEY_GEN: "GENERIC_SECRET",
    CKM.RSA_PKCS_KEY_PAIR_GEN: "RSA",
    CKM.RSA_X9_31_KEY_PAIR_GEN: "RSA",
    CKM.EC_KEY_PAIR_GEN: "EC",
}

MECHANISMS: Final[Mapping[str, Container[Mechanism]]] = {
    "generate": GENERATIONS,
    "import": (),
    "encrypt": CIPHERS,
    "decrypt": CIPHERS,
    "sign": SIGNATURES,
    "verify": SIGNATURES,
    "wrap": WRAPPINGS,
    "unwrap": WRAPPINGS,
    "derive": DERIVATIONS,
    "digest": DIGESTS,
}
"""Operation to the mechanisms that can do it."""

NEEDS: Final[Mapping[str, CKA]] = {
    "encrypt": CKA.ENCRYPT,
    "decrypt": CKA.DECRYPT,
    "sign": CKA.SIGN,
    "verify": CKA.VERIFY,
    "wrap": CKA.WRAP,
    "unwrap": CKA.UNWRAP,
    "derive": CKA.DERIVE,
}
"""Operation to the attribute that a key must have for it."""

SDK3_ONLY: Final = (CKM.AES_KEY_WRAP, CKM.AES_KEY_WRAP_PAD)

# AWS CloudHSM User Guide, "Supported mechanisms for Client SDK 3", tables 3.1 and 3.2:
# single-part operations. SDK 5 hashes in the library and has no limit.
_SDK3_HASHED: Final = {"SHA1": 16296, "SHA224": 16264, "SHA256": 16296, "SHA384": 16232, "SHA512": 16232}
_HASH_OF: Final = {CKM.SHA_1: "SHA1"} | {
    mechanism: name
    for mechanism in CKM
    for name in _SDK3_HASHED
    if (mechanism.name.startswith(f"{name}_RSA") or mechanism.name in (f"ECDSA_{name}", name))
}

_WITH_PADDING: Final = ("encrypt", "decrypt", "wrap", "unwrap")


def resolve(mechanism: Mechanism) -> CKM:
    """Return the mechanism that a member, a number or a name (with or without `CKM_`) stands for.

    Raises:
        MechanismInvalid: the service has none such; a name comes with the nearest spelling.
    """
    if isinstance(mechanism, CKM):
        return mechanism
    if isinstance(mechanism, int):
        try:
            return CKM(mechanism)
        except ValueError:
            pass
        raise MechanismInvalid(f"the service has no mechanism 0x{mechanism:08X}")
    name = str(mechanism).upper().removeprefix("CKM_")
    found = CKM.__members__.get(name)
    if found is not None:
        return found
    near = difflib.get_close_matches(name, CKM.__members__, n=1)
    hint = f"; did you mean CKM.{near[0]}?" if near else ""
    raise MechanismInvalid(f"the service has no mechanism {mechanism!r}{hint}")


def max_bytes(operation: str, mechanism: CKM, sdk: int = 5) -> int | None:
    """Return the most bytes that one operation takes, or None where no limit is published.

    Source:
        AWS CloudHSM User Guide, "Supported mechanisms" of both SDKs, maximum data sizes.
    """
    if operation in ("sign", "verify", "digest") and sdk == 3 and mechanism in _HASH_OF:
        return _SDK3_HASHED[_HASH_OF[mechanism]]
    if operation in ("sign", "verify") and mechanism in SIGNATURES:
        return SIGNATURES[mechanism].limit
    if operation in ("encrypt", "decrypt") and mechanism in CIPHERS:
        cipher = CIPHERS[mechanism]
        if cipher.limit is not None:
            return cipher.limit + (cipher.overhead if operation == "decrypt" else 0)
    return None


def check_policy(
    operation: str,
    mechanism: Mechanism | None,
    kind: str,
    fips: bool,
    *,
    sdk: int = 5,
    curve: str | None = None,
    size: int | None = None,
) -> None:
    """Refuse what the cluster's mode, the client's SDK or the service as such does not allow.

    Args:
        operation: `generate`, `import`, or what is done with a key (`encrypt`, …).
        mechanism: None for an import, or where the operation's default is meant.
        kind: kind of the key that is made or used.
        fips: whether the cluster is in FIPS mode.
        sdk: the client's SDK, 3 or 5.
        curve: curve of an EC key.
        size: bytes of data, where they are to be held against the mechanism's limit.

    Raises:
        MechanismInvalid: no such mechanism, not for this operation, not in this SDK, or
            (HSM code 0xB3) forbidden in FIPS mode.
        TemplateInvalid: no such kind; HSM code 0xB3: the kind is forbidden in FIPS mode.
        DataInvalid: too many bytes (DATA_LEN_RANGE, which is a guess).
        UsageError: no such operation.

    Source:
        AWS CloudHSM User Guide, "Supported mechanisms" and "Key types": 3DES, and RSA with
        PKCS #1 v1.5 padding, "disallowed for clusters in FIPS mode after 2023". That
        signatures with this padding stay allowed follows from NIST SP 800-131A, which is
        what the guide refers to.
    """
    allowed = MECHANISMS.get(operation)
    if allowed is None:
        raise UsageError(f"there is no operation {operation!r} (there are {', '.join(MECHANISMS)})")
    check_kind(kind)
    if fips and kind == "DES3":
        text = f"{POLICY_TEXT}: triple DES is disallowed in FIPS mode after 2023"
        if operation in NEEDS:
            raise MechanismInvalid(text, hsm_code=POLICY_CODE)
        raise TemplateInvalid(text, hsm_code=POLICY_CODE)
    if mechanism is None:
        return
    found = resolve(mechanism)
    if found not in allowed:
        raise no_such_use(operation, found)
    if sdk != 3 and found in SDK3_ONLY:
        raise MechanismInvalid(f"{found.name} is offered by SDK 3 only; use CLOUDHSM_AES_KEY_WRAP_ZERO_PAD")
    if operation == "generate" and GENERATIONS[found] != kind:
        raise MechanismInvalid(f"{found.name} makes {GENERATIONS[found]} keys, not {kind}")
    if fips and found is CKM.RSA_PKCS and operation in _WITH_PADDING:
        raise MechanismInvalid(
            f"{POLICY_TEXT}: RSA PKCS #1 v1.5 padding is disallowed in FIPS mode after 2023; use RSA_PKCS_OAEP",
            hsm_code=POLICY_CODE,
        )
    if sdk == 3 and found is CKM.ECDH1_DERIVE and curve == "secp521r1":
        raise MechanismInvalid("ECDH1_DERIVE does not support P-521 in SDK 3", ckr=CKR.KEY_SIZE_RANGE)
    most = max_bytes(operation, found, sdk)
    if size is not None and most is not None and size > most:
        raise too_long(operation, found, size, most)


def no_such_use(operation: str, mechanism: CKM) -> MechanismInvalid:
    """Return the refusal of a mechanism that cannot do this."""
    allowed = MECHANISMS[operation]
    names = ", ".join(item.name for item in CKM if item in allowed)
    return MechanismInvalid(f"{mechanism.name} cannot {operation} (possible: {names})")


def too_long(operation: str, mechanism: CKM, size: int, most: int) -> DataInvalid:
    """Return the refusal of more data than a mechanism takes."""
    ckr = CKR.ENCRYPTED_DATA_LEN_RANGE if operation == "decrypt" else CKR.DATA_LEN_RANGE
    return DataInvalid(f"{mechanism.name} takes at most {most} bytes to {operation}, not {size}", ckr=ckr)
