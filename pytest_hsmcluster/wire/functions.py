"""Which functions does PKCS#11 v2.40 have, and what does each take and give?

The one table of the wire: the C library is made from it (`c_source.py`), and Python reads and writes frames by it
(`frames.py`).  The order is that of `CK_FUNCTION_LIST`; a function's number is its place.

Source:
    OASIS PKCS #11 v2.40, `pkcs11f.h`.  Which functions CloudHSM offers: AWS CloudHSM User Guide, "PKCS #11 library
    API operations" of SDK 5, and of SDK 3 for the four with `Recover` in their names.
"""

from dataclasses import dataclass
from typing import Final

VERSION: Final = 1
"""Of the frame format; both ends are built together, so it only has to notice a library that was left behind."""

LIMIT: Final = 1 << 20
"""Bytes of the longest frame.  CloudHSM takes 16 KiB at once; templates and lists of handles are short, too."""

IN: Final = {
    "ulong": "CK_ULONG",
    "flag": "CK_BBOOL",
    "pointer": "CK_VOID_PTR",  # all that is told is whether it is there
    "notify": "CK_NOTIFY",  # likewise
    "text": "CK_UTF8CHAR_PTR",  # of no function that is offered
    "start": "CK_VOID_PTR",  # CK_C_INITIALIZE_ARGS
    "bytes": "CK_BYTE_PTR CK_ULONG",
    "mechanism": "CK_MECHANISM_PTR",  # what an HSM writes into its parameter comes back
    "template": "CK_ATTRIBUTE_PTR CK_ULONG",
    "attributes": "CK_ATTRIBUTE_PTR CK_ULONG",  # types and room; values come back
    "output": "CK_BYTE_PTR CK_ULONG_PTR",  # room; as much as fits comes back, or its length
    "fill": "CK_BYTE_PTR CK_ULONG",  # room that is filled
    "number": "CK_ULONG_PTR",  # one comes back
    "list": "CK_ULONG_PTR CK_ULONG_PTR",  # room for so many; as many as fit come back, or their count
    "found": "CK_ULONG_PTR CK_ULONG CK_ULONG_PTR",  # room for so many; some come back, and their count
    "CK_INFO": "CK_INFO_PTR",
    "CK_SLOT_INFO": "CK_SLOT_INFO_PTR",
    "CK_TOKEN_INFO": "CK_TOKEN_INFO_PTR",
    "CK_SESSION_INFO": "CK_SESSION_INFO_PTR",
    "CK_MECHANISM_INFO": "CK_MECHANISM_INFO_PTR",
    "functions": "CK_FUNCTION_LIST_PTR_PTR",  # the library answers that alone
}
"""What an argument may be → its types in C."""

STRUCTS: Final = {
    "CK_INFO": "cryptokiVersion:2 manufacturerID:32 flags libraryDescription:32 libraryVersion:2",
    "CK_SLOT_INFO": "slotDescription:64 manufacturerID:32 flags hardwareVersion:2 firmwareVersion:2",
    "CK_TOKEN_INFO": (
        "label:32 manufacturerID:32 model:16 serialNumber:16 flags ulMaxSessionCount ulSessionCount "
        "ulMaxRwSessionCount ulRwSessionCount ulMaxPinLen ulMinPinLen ulTotalPublicMemory ulFreePublicMemory "
        "ulTotalPrivateMemory ulFreePrivateMemory hardwareVersion:2 firmwareVersion:2 utcTime:16"
    ),
    "CK_SESSION_INFO": "slotID state flags ulDeviceError",
    "CK_MECHANISM_INFO": "ulMinKeySize ulMaxKeySize flags",
}
"""Struct → its fields: a number, or so many bytes."""


@dataclass(frozen=True, slots=True)
class Function:
    """One function of PKCS#11.

    Attributes:
        number: its place in `CK_FUNCTION_LIST`, from 1; 0 is no function.
        name: `C_Sign`.
        takes: what each argument is.
        offered: whether CloudHSM has it, in one of its SDKs; the library answers for the others alone.
    """

    number: int
    name: str
    takes: tuple[str, ...]
    offered: bool


_TABLE: Final = """
Initialize            start
Finalize              pointer
GetInfo               CK_INFO
- GetFunctionList     functions
GetSlotList           flag list
GetSlotInfo           ulong CK_SLOT_INFO
GetTokenInfo          ulong CK_TOKEN_INFO
GetMechanismList      ulong list
GetMechanismInfo      ulong ulong CK_MECHANISM_INFO
- InitToken           ulong bytes text
- InitPIN             ulong bytes
- SetPIN              ulong bytes bytes
OpenSession           ulong ulong pointer notify number
CloseSession          ulong
CloseAllSessions      ulong
GetSessionInfo        ulong CK_SESSION_INFO
- GetOperationState   ulong output
- SetOperationState   ulong bytes ulong ulong
Login                 ulong ulong bytes
Logout                ulong
CreateObject          ulong template number
- CopyObject          ulong ulong template number
DestroyObject         ulong ulong
- GetObjectSize       ulong ulong number
GetAttributeValue     ulong ulong attributes
- SetAttributeValue   ulong ulong template
FindObjectsInit       ulong template
FindObjects           ulong found
FindObjectsFinal      ulong
EncryptInit           ulong mechanism ulong
Encrypt               ulong bytes output
EncryptUpdate         ulong bytes output
EncryptFinal          ulong output
DecryptInit           ulong mechanism ulong
Decrypt               ulong bytes output
DecryptUpdate         ulong bytes output
DecryptFinal          ulong output
DigestInit            ulong mechanism
Digest                ulong bytes output
DigestUpdate          ulong bytes
- DigestKey           ulong ulong
DigestFinal           ulong output
SignInit              ulong mechanism ulong
Sign                  ulong bytes output
SignUpdate            ulong bytes
SignFinal             ulong output
SignRecoverInit       ulong mechanism ulong
SignRecover           ulong bytes output
VerifyInit            ulong mechanism ulong
Verify                ulong bytes bytes
VerifyUpdate          ulong bytes
VerifyFinal           ulong bytes
VerifyRecoverInit     ulong mechanism ulong
VerifyRecover         ulong bytes output
- DigestEncryptUpdate ulong bytes output
- DecryptDigestUpdate ulong bytes output
- SignEncryptUpdate   ulong bytes output
- DecryptVerifyUpdate ulong bytes output
GenerateKey           ulong mechanism template number
GenerateKeyPair       ulong mechanism template template number number
WrapKey               ulong mechanism ulong ulong output
UnwrapKey             ulong mechanism ulong bytes template number
DeriveKey             ulong mechanism ulong template number
- SeedRandom          ulong bytes
GenerateRandom        ulong fill
- GetFunctionStatus   ulong
- CancelFunction      ulong
- WaitForSlotEvent    ulong number pointer
"""


def _function(number: int, line: str) -> Function:
    offered = not line.startswith("- ")
    name, *takes = line.removeprefix("- ").split()
    return Function(number, f"C_{name}", tuple(takes), offered)


FUNCTIONS: Final = tuple(_function(number, line) for number, line in enumerate(_TABLE.strip().splitlines(), 1))
"""All 68, in the order of `CK_FUNCTION_LIST`."""

SHAPES: Final = {
    0x00000009: "oaep",  # RSA_PKCS_OAEP
    0x00001087: "gcm",  # AES_GCM
    0x80001087: "gcm",  # CLOUDHSM_AES_GCM
    0x00001050: "ecdh",  # ECDH1_DERIVE
    0x00001054: "rsa_aes",  # RSA_AES_KEY_WRAP
    0x80000001: "kdf",  # SP800_108_COUNTER_KDF, CloudHSM's number
    0x000003AC: "kdf",  # SP800_108_COUNTER_KDF of PKCS #11 v3.0
}
"""Mechanism → which struct with pointers in it its parameter is; the parameters of all others travel as they are."""
