"""Which attributes does a new key get, and which may its maker ask for?"""

from collections.abc import Mapping
from functools import lru_cache
from types import MappingProxyType
from typing import Final, Literal

from ..cryptoki import CKA, CKO, CKR
from ..errors import TemplateInvalid
from .attribute_map import FLAGS, MAX_LABEL_BYTES, Attributes, Template, Value, checked_value
from .curves import find_curve
from .kinds import KINDS, part_name

__all__ = [
    "SUPPORTED",
    "Attributes",
    "Origin",
    "Template",
    "Value",
    "new_attributes",
    "usable_template",
    "wanted_size",
]

Origin = Literal["generate", "import", "unwrap", "derive"]

_ALL: Final = (
    CKA.CLASS,
    CKA.KEY_TYPE,
    CKA.LABEL,
    CKA.ID,
    CKA.TOKEN,
    CKA.PRIVATE,
    CKA.DERIVE,
    CKA.LOCAL,
    CKA.MODIFIABLE,
    CKA.DESTROYABLE,
    CKA.CHECK_VALUE,
)
_HIDDEN: Final = (
    CKA.SENSITIVE,
    CKA.EXTRACTABLE,
    CKA.NEVER_EXTRACTABLE,
    CKA.ALWAYS_SENSITIVE,
    CKA.WRAP_WITH_TRUSTED,
)
_KEEPING: Final = (CKA.DECRYPT, CKA.SIGN, CKA.UNWRAP, CKA.UNWRAP_TEMPLATE)
_GIVING: Final = (CKA.ENCRYPT, CKA.VERIFY, CKA.WRAP, CKA.WRAP_TEMPLATE, CKA.TRUSTED)
_BLOCK: Final = (*_KEEPING, *_GIVING)

SUPPORTED: Final[Mapping[tuple[str, CKO], tuple[CKA, ...]]] = {
    ("AES", CKO.SECRET_KEY): (*_ALL, *_HIDDEN, *_BLOCK, CKA.VALUE_LEN),
    ("DES3", CKO.SECRET_KEY): (*_ALL, *_HIDDEN, *_BLOCK),
    ("GENERIC_SECRET", CKO.SECRET_KEY): (*_ALL, *_HIDDEN, CKA.SIGN, CKA.VERIFY, CKA.VALUE_LEN),
    ("RSA", CKO.PRIVATE_KEY): (*_ALL, *_HIDDEN, *_KEEPING),
    ("RSA", CKO.PUBLIC_KEY): (*_ALL, *_GIVING, CKA.MODULUS_BITS, CKA.PUBLIC_EXPONENT),
    ("EC", CKO.PRIVATE_KEY): (*_ALL, *_HIDDEN, *_KEEPING, CKA.EC_PARAMS),
    ("EC", CKO.PUBLIC_KEY): (*_ALL, *_GIVING, CKA.EC_PARAMS),
}
"""AWS CloudHSM User Guide, "PKCS #11 library attributes tables", the rows of all ways to make a key together."""

_IMPORT_FACTS: Final = {
    "RSA": (CKA.MODULUS, CKA.MODULUS_BITS, CKA.PUBLIC_EXPONENT),
    "EC": (CKA.VALUE, CKA.EC_PARAMS, CKA.EC_POINT),
}
"""Kind → attributes that are what is imported; of secret keys `_SECRET_FACTS`."""

_SECRET_FACTS: Final = (CKA.VALUE, CKA.VALUE_LEN)
_READ_ONLY: Final = (CKA.LOCAL, CKA.NEVER_EXTRACTABLE, CKA.ALWAYS_SENSITIVE, CKA.CHECK_VALUE)

_USABLE: Final[Mapping[tuple[str, CKO], Mapping[CKA, bool]]] = {
    owner: MappingProxyType(dict.fromkeys(flags, True))
    for owner, flags in (
        (
            ("AES", CKO.SECRET_KEY),
            (CKA.ENCRYPT, CKA.DECRYPT, CKA.WRAP, CKA.UNWRAP, CKA.SIGN, CKA.VERIFY, CKA.DERIVE),
        ),
        (("DES3", CKO.SECRET_KEY), (CKA.ENCRYPT, CKA.DECRYPT)),
        (("GENERIC_SECRET", CKO.SECRET_KEY), (CKA.SIGN, CKA.VERIFY, CKA.DERIVE)),
        (("RSA", CKO.PRIVATE_KEY), (CKA.DECRYPT, CKA.SIGN, CKA.UNWRAP)),
        (("RSA", CKO.PUBLIC_KEY), (CKA.ENCRYPT, CKA.VERIFY, CKA.WRAP)),
        (("EC", CKO.PRIVATE_KEY), (CKA.SIGN, CKA.DERIVE)),
        (("EC", CKO.PUBLIC_KEY), (CKA.VERIFY,)),
    )
}


def usable_template(kind: str, part: CKO) -> Mapping[CKA, bool]:
    """Return the usage flags that suit a kind of key: what it can be used for, it may be used for.

    The PKCS #11 defaults switch nearly every use off. The high-level client gives its
    keys these instead, as the JCE provider does.
    """
    _check_pair(kind, part)
    return _USABLE[kind, part]


def new_attributes(
    kind: str,
    part: CKO,
    *,
    origin: Origin,
    label: str = "",
    token: bool = False,
    template: Template | None = None,
    bits: int = 0,
    curve: str | None = None,
    base: Attributes | None = None,
) -> Attributes:
    """Return the attributes of a new key: the service's defaults and what the template asks for.

    Args:
        kind: kind of the key.
        part: secret, private or public.
        origin: how the key comes to be.
        label: empty for none; a label in the template must be the same.
        token: token key or session key; TOKEN in the template must be the same.
        template: what the caller asks for, `usable_template(kind, part)` included.
        bits: size of the key, where it is known: it becomes VALUE_LEN or MODULUS_BITS.
        curve: name of the curve of an EC key: it becomes EC_PARAMS.
        base: the base key's attributes for a derived key: what was always sensitive or
            never extractable stays so only if the base was.

    Raises:
        TemplateInvalid: with `ckr` TEMPLATE_INCONSISTENT (no such attribute for this
            kind, or two wishes contradict each other), TEMPLATE_INCOMPLETE (a size is
            missing), ATTRIBUTE_READ_ONLY (a value that the service forbids) or
            ATTRIBUTE_VALUE_INVALID (no value for this attribute).

    Source:
        AWS CloudHSM User Guide, "PKCS #11 library attributes tables" and "Interpreting
        error codes"; ALWAYS_SENSITIVE and NEVER_EXTRACTABLE as PKCS #11 v2.40 defines them.
    """
    usable = template is not None and template is _USABLE.get((kind, part))
    values = _defaults(kind, part, origin, bits, curve, usable).copy()
    if label:
        if len(label) > MAX_LABEL_BYTES // 4:
            checked_value(CKA.LABEL, label)
        values[CKA.LABEL] = label
    values[CKA.TOKEN] = token
    if template and not usable:
        _apply(values, template, kind, part, origin, named=bool(label))
    if base is not None or (template and not usable):
        _remember(values, origin, base)
    _check_complete(values, kind, part)
    return Attributes(values)


def wanted_size(kind: str, part: CKO, template: Template) -> int | str:
    """Return the size that a template asks for: bits, or for EC the curve's name.

    Raises:
        TemplateInvalid: the attribute that says it is missing (TEMPLATE_INCOMPLETE).
    """
    _check_pair(kind, part)
    if kind == "DES3":
        return 192
    key = {"RSA": CKA.MODULUS_BITS, "EC": CKA.EC_PARAMS}.get(kind, CKA.VALUE_LEN)
    if key not in template:
        raise _incomplete(kind, key)
    value = checked_value(key, template[key])
    if isinstance(value, bytes):
        return find_curve(value).name
    return int(str(value)) * (8 if key is CKA.VALUE_LEN else 1)


@lru_cache(maxsize=512)
def _defaults(kind: str, part: CKO, origin: Origin, bits: int, curve: str | None, usable: bool) -> dict[CKA, Value]:
    """Return the attributes of a key made without a template; callers copy it."""
    _check_pair(kind, part)
    made_here = origin == "generate"
    symmetric = part == CKO.SECRET_KEY  # equal numbers share one place in the cache, whatever their type
    defaults: dict[CKA, Value] = {
        CKA.CLASS: int(part),
        CKA.KEY_TYPE: int(KINDS[kind]),
        CKA.LABEL: "",
        CKA.ID: b"",
        CKA.PRIVATE: True,
        CKA.MODIFIABLE: True,
        CKA.DESTROYABLE: True,
        CKA.SENSITIVE: True,
        CKA.EXTRACTABLE: True,
        CKA.ALWAYS_SENSITIVE: made_here,
        CKA.LOCAL: made_here,
        CKA.SIGN: made_here and symmetric,
        CKA.VERIFY: made_here and symmetric,
    }
    if bits and kind != "EC":
        defaults[CKA.MODULUS_BITS if kind == "RSA" else CKA.VALUE_LEN] = bits if kind == "RSA" else bits // 8
    if curve is not None:
        defaults[CKA.EC_PARAMS] = find_curve(curve).oid
    supported = SUPPORTED[kind, part]
    values = {key: defaults[key] for key in supported if key in defaults}
    for key in supported:
        # The tables give EC keys the uses of RSA keys, without a mechanism for them: only if asked for.
        without_mechanism = kind == "EC" and key in (CKA.ENCRYPT, CKA.DECRYPT, CKA.WRAP, CKA.UNWRAP)
        if key in FLAGS and not without_mechanism:
            values.setdefault(key, False)
    if usable:
        values.update(_USABLE[kind, part])
    return dict(sorted(values.items()))


def _apply(values: dict[CKA, Value], template: Template, kind: str, part: CKO, origin: Origin, named: bool) -> None:
    """Write the template's wishes over the defaults, or refuse them."""
    supported = SUPPORTED[kind, part]
    facts = _IMPORT_FACTS.get(kind, _SECRET_FACTS) if origin == "import" else ()
    for key, wanted in template.items():
        if key in facts:
            continue
        if not isinstance(key, CKA) or key not in supported:
            name = f"CKA_{key.name}" if isinstance(key, CKA) else repr(key)
            raise TemplateInvalid(
                f"{name} is not supported for {kind} {part_name(part)}s",
                ckr=CKR.TEMPLATE_INCONSISTENT,
            )
        if key in _READ_ONLY:
            raise _forbidden(key, "the HSM sets it")
        value = _exponent(wanted) if key is CKA.PUBLIC_EXPONENT else checked_value(key, wanted)
        if value is False and (
            key is CKA.PRIVATE
            or (key is CKA.SENSITIVE and origin == "generate")
            or (key is CKA.DESTROYABLE and origin == "derive")
        ):
            raise _forbidden(key, "it may only be true")
        if value is True and key is CKA.TRUSTED:
            raise _forbidden(key, "only a crypto officer (admin) may set it, on a key that exists")
        if value is True and key is CKA.DERIVE and part is CKO.PUBLIC_KEY:
            raise _forbidden(key, "it must be false for public keys")
        fixed = key in (CKA.CLASS, CKA.KEY_TYPE, CKA.TOKEN) or (key is CKA.LABEL and named)
        sized = key in (CKA.VALUE_LEN, CKA.MODULUS_BITS, CKA.EC_PARAMS) and key in values
        if (fixed or sized) and value != values[key]:
            raise TemplateInvalid(
                f"CKA_{key.name}: the template asks for something else than the call does",
                ckr=CKR.TEMPLATE_INCONSISTENT,
            )
        if key is not CKA.PUBLIC_EXPONENT:
            values[key] = value


def _remember(values: dict[CKA, Value], origin: Origin, base: Attributes | None) -> None:
    """Set the two attributes that tell a key's past."""
    if CKA.SENSITIVE not in values:
        return
    always, never = origin == "generate", origin == "generate"
    if base is not None:
        always, never = base.flag(CKA.ALWAYS_SENSITIVE), base.flag(CKA.NEVER_EXTRACTABLE)
    values[CKA.ALWAYS_SENSITIVE] = always and values[CKA.SENSITIVE] is True
    values[CKA.NEVER_EXTRACTABLE] = never and values[CKA.EXTRACTABLE] is False


def _check_complete(values: dict[CKA, Value], kind: str, part: CKO) -> None:
    if kind == "AES" or kind == "GENERIC_SECRET":
        if CKA.VALUE_LEN not in values:
            raise _incomplete(kind, CKA.VALUE_LEN)
    elif kind == "EC":
        if CKA.EC_PARAMS not in values:
            raise _incomplete(kind, CKA.EC_PARAMS)
    elif kind == "RSA" and part is CKO.PUBLIC_KEY and CKA.MODULUS_BITS not in values:
        raise _incomplete(kind, CKA.MODULUS_BITS)


def _check_pair(kind: str, part: CKO) -> None:
    if (kind, part) not in SUPPORTED:
        raise TemplateInvalid(f"there is no {part_name(part)} of kind {kind!r}")


def _exponent(value: object) -> Value:
    number = int.from_bytes(value, "big") if isinstance(value, bytes) else value
    if not isinstance(number, int) or number < 65537 or number % 2 == 0:
        raise TemplateInvalid("CKA_PUBLIC_EXPONENT is odd and at least 65537", ckr=CKR.ATTRIBUTE_VALUE_INVALID)
    return number


def _forbidden(key: CKA, why: str) -> TemplateInvalid:
    return TemplateInvalid(f"CKA_{key.name} cannot be given this value: {why}", ckr=CKR.ATTRIBUTE_READ_ONLY)


def _incomplete(kind: str, key: CKA) -> TemplateInvalid:
    return TemplateInvalid(
        f"a template for {kind} needs CKA_{key.name}: nothing else says how big the key is",
        ckr=CKR.TEMPLATE_INCOMPLETE,
    )
