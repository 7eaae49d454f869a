"""The one table of the wire agrees with the header that OASIS publishes, and with what CloudHSM offers."""

import re
from pathlib import Path

import pytest

import pytest_hsmcluster.pkcs11
from pytest_hsmcluster.wire.functions import FUNCTIONS, IN, SHAPES, STRUCTS

OASIS = Path(pytest_hsmcluster.pkcs11.__file__).parent / "native" / "oasis"
SDK3_ONLY = {"C_SignRecoverInit", "C_SignRecover", "C_VerifyRecoverInit", "C_VerifyRecover"}
_SDK5 = """
    Initialize Finalize GetInfo GetFunctionList GetSlotList GetSlotInfo GetTokenInfo GetMechanismList GetMechanismInfo
    OpenSession CloseSession CloseAllSessions GetSessionInfo Login Logout CreateObject DestroyObject GetAttributeValue
    FindObjectsInit FindObjects FindObjectsFinal EncryptInit Encrypt EncryptUpdate EncryptFinal DecryptInit Decrypt
    DecryptUpdate DecryptFinal DigestInit Digest DigestUpdate DigestFinal SignInit Sign SignUpdate SignFinal VerifyInit
    Verify VerifyUpdate VerifyFinal GenerateKey GenerateKeyPair WrapKey UnwrapKey DeriveKey GenerateRandom
"""
SDK5 = {f"C_{name}" for name in _SDK5.split()}
"""AWS CloudHSM User Guide, "PKCS #11 library API operations"."""


def _text(name: str) -> str:
    return re.sub(r"/\*.*?\*/", "", (OASIS / name).read_text(encoding="utf-8"), flags=re.DOTALL)


def _header() -> list[tuple[str, list[str]]]:
    """Return name and argument types of each function, in the order of `pkcs11f.h`."""
    text = _text("pkcs11f.h")
    text = text[: text.index("CK_PKCS11_FUNCTION_INFO(C_GetInterfaceList)")]  # with which v3.0 begins
    pattern = r"CK_PKCS11_FUNCTION_INFO\((\w+)\)\s*#ifdef CK_NEED_ARG_LIST\s*\((.*?)\);"
    return [
        (name, [argument.split()[0] for argument in arguments.split(",")])
        for name, arguments in re.findall(pattern, text, flags=re.DOTALL)
    ]


def _aliases() -> dict[str, str]:
    typedefs = re.findall(r"typedef\s+([\w\s]+?)\s+(\w+)\s*;", _text("pkcs11t.h"))
    return {new: old for old, new in typedefs if new.startswith("CK_") and not old.startswith(("struct", "unsigned"))}


def _plain(type_: str, aliases: dict[str, str]) -> str:
    """Return a type with its other names undone: `CK_SLOT_ID_PTR` is `CK_ULONG CK_PTR`."""
    for _ in range(4):
        type_ = " ".join(aliases.get(word, word) for word in type_.split())
    return type_


def test_names_and_order_are_those_of_the_header() -> None:
    """A function's number is its place in CK_FUNCTION_LIST."""
    assert [function.name for function in FUNCTIONS] == [name for name, _ in _header()]
    assert [function.number for function in FUNCTIONS] == list(range(1, 69))


@pytest.mark.parametrize("number", range(68), ids=[function.name for function in FUNCTIONS])
def test_arguments_are_those_of_the_header(number: int) -> None:
    """What an argument is on the wire fits its types in C, whatever their names."""
    aliases = _aliases()
    ours = [type_ for kind in FUNCTIONS[number].takes for type_ in IN[kind].split()]

    assert [_plain(type_, aliases) for type_ in ours] == [_plain(type_, aliases) for type_ in _header()[number][1]]


def test_functions_of_both_sdks_are_offered() -> None:
    """47 functions of SDK 5 and four more of SDK 3; C_GetFunctionList is one that the library answers alone."""
    offered = {function.name for function in FUNCTIONS if function.offered}

    assert len(SDK5) == 47 and len(SDK3_ONLY) == 4
    assert offered | {"C_GetFunctionList"} == SDK5 | SDK3_ONLY


def test_structs_have_the_fields_of_the_header() -> None:
    """Names, order, and which are numbers, texts or versions."""
    for name, fields in STRUCTS.items():
        body = re.search(rf"typedef struct {name} {{(.*?)}}", _text("pkcs11t.h"), flags=re.DOTALL)
        assert body is not None
        declared = re.findall(r"(\w+)\s+(\w+)(?:\[(\d+)\])?;", body.group(1))
        expected = [
            f"{field}:{size}" if size else f"{field}:2" if type_ == "CK_VERSION" else field
            for type_, field, size in declared
        ]
        assert fields.split() == expected


def test_shapes_have_the_numbers_of_the_header() -> None:
    """Mechanisms whose parameters have pointers in them; only CloudHSM's own and one of v3.0 are not in the header."""
    numbers = {int(number, 16) for number in re.findall(r"#define CKM_\w+\s+0x([0-9A-F]+)UL", _text("pkcs11t.h"))}

    assert [f"0x{number:X}" for number in SHAPES if number not in numbers] == ["0x80001087", "0x80000001", "0x3AC"]
