"""What can commands, mechanisms' parameters and errors be made of?

Examples go by the type hint of an argument, so that a new class has some without a line here.
"""

import inspect
from collections.abc import Mapping, Sequence
from typing import Any, Literal, get_args, get_type_hints

from pytest_hsmcluster import errors
from pytest_hsmcluster.cryptoki import CKA, CKD, CKM, CKO, CKR
from pytest_hsmcluster.errors import ClusterError
from pytest_hsmcluster.history.events import Cause
from pytest_hsmcluster.keys.attributes import Attributes, new_attributes, usable_template
from pytest_hsmcluster.keys.material import Material, generate_pair
from pytest_hsmcluster.keys.mechanisms import Mechanism, MechanismParams
from pytest_hsmcluster.keys.parameters import HashName, OaepParams
from pytest_hsmcluster.keys.source import SystemSource
from pytest_hsmcluster.service import commands
from pytest_hsmcluster.service.calls import Call
from pytest_hsmcluster.service.commands import Command
from pytest_hsmcluster.service.keystore import StoredKey

VENDOR = 0x80009999
SECRET = b"hunter2-hunter2!"
"""What must be seen nowhere."""

PUBLIC, PRIVATE = generate_pair("EC", "secp256r1", SystemSource())
AES = Material("AES", CKO.SECRET_KEY, SECRET, 128)
NESTED = {CKA.LABEL: "röd", CKA.WRAP_TEMPLATE: {CKA.WRAP_TEMPLATE: {CKA.ID: b"\xff\x00"}, CKA.SIGN: True}}
TEMPLATES = ({}, usable_template("AES", CKO.SECRET_KEY), NESTED, {VENDOR: 7, CKA.VALUE_LEN: 32, CKA.ID: [1, "a", None]})

COMMANDS = [
    kind
    for kind in vars(commands).values()
    if inspect.isclass(kind) and issubclass(kind, Command) and kind is not Command
]
PARAMS = list(get_args(MechanismParams))
ERRORS = [kind for kind in vars(errors).values() if inspect.isclass(kind) and issubclass(kind, ClusterError)]

EXAMPLES: dict[Any, Sequence[Any]] = {
    bool: (True, False),
    int: (262_144, 0, 1 << 40, -1),
    str: ("payroll", "", "zoë"),
    bytes: (SECRET, b"", bytes(range(256))),
    int | str: (2048, "secp256r1"),
    int | None: (None, 32),
    str | None: (None, "AES"),
    bytes | None: (None, b"\xfe"),
    CKO: tuple(CKO),
    CKO | None: (None, *CKO),
    CKA: (CKA.LABEL, CKA.UNWRAP_TEMPLATE),
    CKD: (*CKD, 99),
    CKM: (CKM.AES_CMAC, VENDOR),
    Cause: tuple(Cause),
    HashName: get_args(HashName),
    HashName | None: (None, *get_args(HashName)),
    OaepParams: (OaepParams(), OaepParams("SHA384", "SHA1", b"label")),
    Material | bytes: (PUBLIC, b"\4point"),
    Literal["before", "after"] | int: ("before", "after", 3),
    Mechanism | None: (None, CKM.ECDSA_SHA256, CKM.CLOUDHSM_AES_GCM, VENDOR, "AES_GCM"),
    Sequence[CKA]: ([], [CKA.VALUE, CKA.LABEL]),
    Mapping[CKA, Any]: TEMPLATES,
    Mapping[CKA, Any] | None: (None, *TEMPLATES),
}


def made(kind: type) -> list[Any]:
    """Return objects of a class, with every example of every argument in one of them."""
    parameters = inspect.signature(kind).parameters
    hints = get_type_hints(kind.__init__)
    rows = {name: EXAMPLES[hints[name]] for name in parameters}
    return [
        kind(**{name: row[turn % len(row)] for name, row in rows.items()})
        for turn in range(max(map(len, rows.values())))
    ]


EXAMPLES[Any] = (None, b"raw", "text", 5, True, NESTED, *(one for kind in PARAMS for one in made(kind)))


def call_of(request: Command) -> Call:
    """Return a call with something in every place."""
    call = Call(7, "sign", "app#2", "alice", 3, session=4, key="key-1", label="payroll", handle=262_144, source="hsm-2")
    return call.at("hsm-1", request)


def stored(material: Material, **changes: Any) -> StoredKey:
    """Return a key as an HSM holds it."""
    attributes = new_attributes(
        material.kind,
        material.part,
        origin="generate",
        label="röd",
        token=True,
        bits=material.bits,
        curve=material.curve,
    )
    fields = {
        "attributes": attributes,
        "owner": "alice",
        "shares": ("bob", "zoë"),
        "session": 5,
        "changed": (("label", "röd"), ("sign", False)),
        **changes,
    }
    return StoredKey(262_144, "key-1", "mat-1", material, **fields)


def errors_of(kind: type[ClusterError]) -> list[ClusterError]:
    """Return errors of a class: one that was told little, and one that was told everything."""
    parameters = inspect.signature(kind).parameters
    if "copies" in parameters:  # TooFewCopies
        return [kind("few", copies=1, needed=2), kind("few", copies=0, needed=9, leftovers=["hsm-1"], outcome="info")]
    full = kind("full", hsm="hsm-2", outcome="info", ckr=CKR.DATA_INVALID, hsm_code=0xBB)
    vendor = kind("its own", ckr=VENDOR)
    for name in get_type_hints(kind).keys() - get_type_hints(ClusterError).keys():
        setattr(full, name, 262_144)
    return [kind("little"), full, vendor]


def exactly(value: Any) -> Any:
    """Return a value in a form that is equal for the same values of the same types only."""
    if isinstance(value, Attributes):
        return "Attributes", value.packed()
    if isinstance(value, Mapping):
        return "mapping", [(exactly(key), exactly(one)) for key, one in value.items()]
    if isinstance(value, list | tuple):
        return type(value), [exactly(one) for one in value]
    return type(value), value
