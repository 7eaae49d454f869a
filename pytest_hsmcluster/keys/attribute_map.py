"""What does a key's set of attributes look like, and how may it change?"""

import struct
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Final, TypeAlias, TypeVar, Union

from ..cryptoki import CKA, CKR
from ..errors import TemplateInvalid

Value: TypeAlias = Union[bool, int, str, bytes, "Attributes"]
"""A flag, a number, a label, bytes, or a template of the keys that this key may wrap."""

Template: TypeAlias = Mapping[CKA, object]
"""Attributes as a caller asks for them: not yet checked."""

_Default = TypeVar("_Default")

FLAGS: Final = (
    CKA.TOKEN,
    CKA.PRIVATE,
    CKA.TRUSTED,
    CKA.SENSITIVE,
    CKA.ENCRYPT,
    CKA.DECRYPT,
    CKA.WRAP,
    CKA.UNWRAP,
    CKA.SIGN,
    CKA.VERIFY,
    CKA.DERIVE,
    CKA.EXTRACTABLE,
    CKA.LOCAL,
    CKA.NEVER_EXTRACTABLE,
    CKA.ALWAYS_SENSITIVE,
    CKA.MODIFIABLE,
    CKA.DESTROYABLE,
    CKA.WRAP_WITH_TRUSTED,
)
TEMPLATES: Final = (CKA.WRAP_TEMPLATE, CKA.UNWRAP_TEMPLATE)
NUMBERS: Final = (CKA.CLASS, CKA.KEY_TYPE, CKA.MODULUS_BITS, CKA.VALUE_LEN)
MAX_LABEL_BYTES: Final = 127

CHANGEABLE: Final = (
    CKA.LABEL,
    CKA.TOKEN,
    CKA.TRUSTED,
    CKA.SENSITIVE,
    CKA.ENCRYPT,
    CKA.DECRYPT,
    CKA.WRAP,
    CKA.UNWRAP,
    CKA.SIGN,
    CKA.VERIFY,
    CKA.DERIVE,
    CKA.MODIFIABLE,
    CKA.WRAP_WITH_TRUSTED,
)
"""AWS CloudHSM User Guide, "Modifying attributes"; MODIFIABLE from "Key attributes" of the CLI."""

_ONE_WAY: Final = {
    CKA.TOKEN: (True, "a session key may become a token key, but not the other way round"),
    CKA.SENSITIVE: (True, "a sensitive key stays sensitive"),
    CKA.WRAP_WITH_TRUSTED: (True, "once set it is permanent"),
    CKA.MODIFIABLE: (False, "it may go from true to false only"),
}

_FLAG_BITS: Final = {flag: 1 << place for place, flag in enumerate(FLAGS)}
_OWN: Final = (CKA.LABEL, CKA.ID, *TEMPLATES)
_HEAD: Final = struct.Struct(">HB")
_FLAG_WORDS: Final = struct.Struct(">II")
_ENTRY: Final = struct.Struct(">IBH")
_NUMBER, _TEXT, _BYTES, _TEMPLATE = range(4)


class Attributes(Mapping[CKA, Value]):
    """The attributes of one key: an immutable mapping, shared by all copies of the key.

    Iterates in numeric order. Holds what the service stores; the values that are part of
    the key material (modulus, point, check value) are read through `read_attribute`.
    A copy that came packed is unpacked when it is first read: most copies never are.
    """

    __slots__ = ("_packed", "_unpacked")

    def __init__(self, values: Mapping[CKA, Value]) -> None:
        self._unpacked: dict[CKA, Value] | None = dict(values)
        self._packed: bytes | None = None

    @property
    def _values(self) -> dict[CKA, Value]:
        if self._unpacked is None:
            self._unpacked = _unpacked(self.packed())
        return self._unpacked

    def __getitem__(self, key: CKA) -> Value:
        return self._values[key]

    def get(self, key: CKA, default: _Default = None) -> Value | _Default:  # type: ignore[assignment]
        return self._values.get(key, default)

    def __contains__(self, key: object) -> bool:
        return key in self._values

    def __iter__(self) -> Iterator[CKA]:
        return iter(sorted(self._values))

    def __len__(self) -> int:
        return len(self._values)

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Attributes):
            same = self._packed is not None and self._packed == other._packed
            return self is other or same or self._values == other._values
        return Mapping.__eq__(self, other)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        parts = []
        for key in self:
            value = self._values[key]
            if value is not False:
                parts.append(key.name if value is True else f"{key.name}={value!r}")
        return f"Attributes({', '.join(parts)})"

    def flag(self, key: CKA) -> bool:
        """Return a yes-or-no attribute; one that the key does not have is false."""
        return self._values.get(key) is True

    @property
    def label(self) -> str:
        """The label, or an empty string."""
        if self._unpacked is None:
            return next((str(value) for key, value in _own_entries(self.packed()) if key is CKA.LABEL), "")
        return str(self._unpacked.get(CKA.LABEL, ""))

    def with_changes(self, changes: Template, by_officer: bool = False) -> "Attributes":
        """Return these attributes with some of them changed; all changes or none.

        Args:
            changes: attribute to new value. A value that is set already changes nothing.
            by_officer: a crypto officer (admin) asks: he alone may set TRUSTED.

        Raises:
            TemplateInvalid: with `ckr` ACTION_PROHIBITED (the key is not modifiable),
                TEMPLATE_INCONSISTENT (a key of this kind has no such attribute),
                ATTRIBUTE_READ_ONLY (may not change, or not in this direction) or
                ATTRIBUTE_VALUE_INVALID (not a value for this attribute).

        Source:
            AWS CloudHSM User Guide, "Modifying attributes"; ACTION_PROHIBITED is
            PKCS #11 v2.40, C_SetAttributeValue.
        """
        values = dict(self._values)
        for key, wanted in changes.items():
            name = f"CKA_{key.name}" if isinstance(key, CKA) else repr(key)
            if key not in values:
                raise TemplateInvalid(f"this key has no attribute {name}", ckr=CKR.TEMPLATE_INCONSISTENT)
            value = checked_value(key, wanted)
            if value == values[key]:
                continue
            if not self.flag(CKA.MODIFIABLE):
                raise TemplateInvalid(
                    f"{name} cannot be changed: the key has CKA_MODIFIABLE false", ckr=CKR.ACTION_PROHIBITED
                )
            if key not in CHANGEABLE:
                allowed = ", ".join(other.name for other in CHANGEABLE)
                raise _read_only(name, f"it is fixed when the key is made (changeable: {allowed})")
            if key is CKA.TRUSTED and not by_officer:
                raise _read_only(name, "only a crypto officer (admin) may set it")
            if key in _ONE_WAY and value is not _ONE_WAY[key][0]:
                raise _read_only(name, _ONE_WAY[key][1])
            values[key] = value
        return Attributes(values)

    def packed(self) -> bytes:
        """Return the attributes as bytes, for `unpack`; made once."""
        if self._packed is None:
            self._packed = self._pack()
        return self._packed

    def _pack(self) -> bytes:
        # Keys of one kind mostly differ in their label only. All the rest is the shape,
        # which `_shape` decodes once.
        present = bits = own = 0
        shape, named = [b""], []
        for key, value in self._values.items():
            flag = _FLAG_BITS.get(key)
            if flag is not None:
                present |= flag
                bits |= flag if value else 0
                continue
            entry = _entry(key, value)
            if key in _OWN:
                named.append(entry)
                own += 1
            else:
                shape.append(entry)
        shape[0] = _FLAG_WORDS.pack(present, bits)
        shared = b"".join(shape)
        return b"".join((_HEAD.pack(len(shared), own), shared, *named))

    @classmethod
    def unpack(cls, packed: bytes) -> "Attributes":
        """Return the attributes that `packed` gave."""
        made = cls.__new__(cls)
        made._unpacked = None
        made._packed = packed
        return made


_KEYS: Final = {int(key): key for key in CKA}


def _unpacked(packed: bytes) -> dict[CKA, Value]:
    shared, _ = _HEAD.unpack_from(packed)
    values = _shape(packed[_HEAD.size : _HEAD.size + shared]).copy()
    values.update(_own_entries(packed))
    return values


def _own_entries(packed: bytes) -> Iterator[tuple[CKA, Value]]:
    """Iterate over what a key does not share with others of its shape."""
    shared, own = _HEAD.unpack_from(packed)
    at = _HEAD.size + shared
    for _ in range(own):
        key, value, at = _read_entry(packed, at)
        yield key, value


def _entry(key: CKA, value: Value) -> bytes:
    if isinstance(value, int):
        tag, raw = _NUMBER, value.to_bytes(8, "big")
    elif isinstance(value, str):
        tag, raw = _TEXT, value.encode()
    elif isinstance(value, bytes):
        tag, raw = _BYTES, value
    else:
        tag, raw = _TEMPLATE, value.packed()
    return _ENTRY.pack(key, tag, len(raw)) + raw


def _read_entry(packed: bytes, at: int) -> tuple[CKA, Value, int]:
    number, tag, length = _ENTRY.unpack_from(packed, at)
    start = at + _ENTRY.size
    end = start + length
    raw = packed[start:end]
    value: Value = raw
    if tag == _TEXT:
        value = raw.decode()
    elif tag == _NUMBER:
        value = int.from_bytes(raw, "big")
    elif tag == _TEMPLATE:
        value = Attributes.unpack(raw)
    return _KEYS[number], value, end


@lru_cache(maxsize=256)
def _shape(shared: bytes) -> dict[CKA, Value]:
    """Return what keys of one shape have in common; callers copy it."""
    present, bits = _FLAG_WORDS.unpack_from(shared)
    values: dict[CKA, Value] = {key: bits & bit != 0 for key, bit in _FLAG_BITS.items() if present & bit}
    at = _FLAG_WORDS.size
    while at < len(shared):
        key, value, at = _read_entry(shared, at)
        values[key] = value
    return values


def checked_value(key: CKA, value: object) -> Value:
    """Return a value that fits this attribute.

    Raises:
        TemplateInvalid: it does not fit (ATTRIBUTE_VALUE_INVALID).
    """
    if key in _FLAG_BITS:
        if isinstance(value, bool):
            return value
        wanted = "True or False"
    elif key is CKA.LABEL:
        if isinstance(value, str) and 0 < len(value.encode()) <= MAX_LABEL_BYTES:
            return value
        wanted = f"a text of 1 to {MAX_LABEL_BYTES} bytes"
    elif key in TEMPLATES:
        if isinstance(value, Attributes):
            return value
        if isinstance(value, Mapping):
            return Attributes({inner: checked_value(inner, asked) for inner, asked in value.items()})
        wanted = "a mapping of attributes"
    elif key in NUMBERS:
        if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 32:
            return value
        wanted = "a number"
    else:
        if isinstance(value, bytes):
            return value
        wanted = "bytes"
    raise TemplateInvalid(
        f"CKA_{key.name} takes {wanted}, not this {type(value).__name__}", ckr=CKR.ATTRIBUTE_VALUE_INVALID
    )


def _read_only(name: str, why: str) -> TemplateInvalid:
    return TemplateInvalid(f"{name} cannot be changed: {why}", ckr=CKR.ATTRIBUTE_READ_ONLY)
