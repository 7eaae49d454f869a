"""Which error does `fail NAME` stand for?

A name is a PKCS#11 return value (`CKR_DEVICE_ERROR`), a code of the HSM (`0xBB`) or one of
our error classes (`HsmBusy`).
"""

import re
from collections.abc import Mapping

from .. import errors
from ..cryptoki import CKR
from ..errors import ClusterError, InjectedError, Outcome, UsageError
from .points import nearest

WANTED = "a PKCS#11 return value (CKR_DEVICE_ERROR), a code of the HSM (0xBB) or an error class (KeyNotOnHsm)"


def canonical(text: str) -> str:
    """Return the one spelling of an error that is named in any way that `fail` understands.

    Raises:
        UsageError: it names no error answer; says the nearest that does.
    """
    if not isinstance(text, str):
        raise UsageError(f"fail needs {WANTED}, got {text!r}")
    if re.fullmatch(r"0[xX][0-9a-fA-F]{1,8}|[0-9]{1,10}", text):
        code = int(text, 16 if text[:2] in ("0x", "0X") else 10)
        if not 0 < code < 1 << 32:
            raise UsageError(f"fail takes a code from 0x1 to 0xFFFFFFFF, got {text!r}")
        return f"0x{code:X}"
    if text == "CKR_OK":
        raise UsageError("CKR_OK is no error answer: pass lets the call succeed")
    if text in _BY_NAME or (text.startswith("CKR_") and text[4:] in CKR.__members__):
        return text
    if text in _INSTEAD:
        raise UsageError(f"fail cannot answer with {text}: {_INSTEAD[text]}")
    known = [f"CKR_{name}" for name in CKR.__members__] + list(_BY_NAME)
    raise UsageError(f"unknown error {text!r}{nearest(text, known)}; fail needs {WANTED}")


def error_of(answer: str, hsm: str | None = None, outcome: Outcome | None = None, sdk: int = 5) -> ClusterError:
    """Return the error that an application of this SDK meets.

    A code or return value gives the class of `errors` that stands for it, any other an
    `InjectedError`.  A return value that was named is the one that is seen, whatever the SDK.

    Args:
        answer: canonical spelling.
        hsm: id of the HSM that answers, if one does.
        outcome: how sure the caller may be; None leaves it to the error's class.
        sdk: 3 or 5: whose PKCS#11 return values are seen where the two differ.
    """
    ckr: CKR | None = None
    code: int | None = None
    kind: type[ClusterError]
    if answer.startswith("0x"):
        code = int(answer, 16)
        kind = _BY_CODE.get(code, InjectedError)
    elif answer.startswith("CKR_"):
        ckr = CKR[answer.removeprefix("CKR_")]
        kind = _BY_CKR.get(ckr, InjectedError)
    else:
        kind = _BY_NAME[answer]
    if ckr is None and sdk == 3:
        ckr = kind.ckr_sdk3
    where = f" on {hsm}" if hsm else ""
    return kind(f"{answer}{where}: injected by a fault", hsm=hsm, outcome=outcome, ckr=ckr, hsm_code=code)


_BY_NAME: Mapping[str, type[ClusterError]] = {
    kind.__name__: kind
    for kind in (
        errors.KeyNotOnHsm,
        errors.KeyUnavailable,
        errors.HsmBusy,
        errors.HsmUnavailable,
        errors.RequestTimeout,
        errors.LoginFailed,
        errors.AccountLocked,
        errors.NotLoggedIn,
        errors.KeyAccessDenied,
        errors.KeyFunctionNotPermitted,
        errors.KeyUnextractable,
        errors.KeyCapacityReached,
        errors.SessionLimitReached,
        errors.TemplateInvalid,
        errors.MechanismInvalid,
        errors.DataInvalid,
        errors.SignatureInvalid,
    )
}

# AWS CloudHSM User Guide, key_mgmt_util reference and "Interpreting HSM audit logs", names the
# codes; which class stands for 0xB3 (forbidden by policy) is a guess.
_BY_CODE: Mapping[int, type[ClusterError]] = {
    0x1B: errors.SignatureInvalid,
    0x8C: errors.SessionLimitReached,
    0x9D: errors.LoginFailed,
    0xA3: errors.LoginFailed,
    0xA8: errors.KeyNotOnHsm,
    0xB3: errors.MechanismInvalid,
    0xBB: errors.HsmBusy,
    0xC6: errors.KeyAccessDenied,
    0xCE: errors.LoginFailed,
    0x30000085: errors.HsmUnavailable,
    0x30000088: errors.HsmUnavailable,
}

# CKR_FUNCTION_FAILED and CKR_GENERAL_ERROR say too little to be one class of ours.
_BY_CKR: Mapping[CKR, type[ClusterError]] = {
    CKR.DATA_INVALID: errors.DataInvalid,
    CKR.DATA_LEN_RANGE: errors.DataInvalid,
    CKR.DEVICE_ERROR: errors.HsmUnavailable,
    CKR.DEVICE_MEMORY: errors.KeyCapacityReached,
    CKR.DEVICE_REMOVED: errors.HsmUnavailable,
    CKR.ENCRYPTED_DATA_INVALID: errors.DataInvalid,
    CKR.ENCRYPTED_DATA_LEN_RANGE: errors.DataInvalid,
    CKR.KEY_FUNCTION_NOT_PERMITTED: errors.KeyFunctionNotPermitted,
    CKR.KEY_HANDLE_INVALID: errors.KeyNotOnHsm,
    CKR.KEY_UNEXTRACTABLE: errors.KeyUnextractable,
    CKR.MECHANISM_INVALID: errors.MechanismInvalid,
    CKR.MECHANISM_PARAM_INVALID: errors.MechanismInvalid,
    CKR.OBJECT_HANDLE_INVALID: errors.KeyNotOnHsm,
    CKR.OPERATION_ACTIVE: errors.HsmBusy,
    CKR.PIN_INCORRECT: errors.LoginFailed,
    CKR.PIN_LOCKED: errors.AccountLocked,
    CKR.SESSION_COUNT: errors.SessionLimitReached,
    CKR.SIGNATURE_INVALID: errors.SignatureInvalid,
    CKR.SIGNATURE_LEN_RANGE: errors.SignatureInvalid,
    CKR.TEMPLATE_INCOMPLETE: errors.TemplateInvalid,
    CKR.TEMPLATE_INCONSISTENT: errors.TemplateInvalid,
    CKR.USER_NOT_LOGGED_IN: errors.NotLoggedIn,
    CKR.WRAPPED_KEY_INVALID: errors.DataInvalid,
    CKR.WRAPPED_KEY_LEN_RANGE: errors.DataInvalid,
}

_INSTEAD = {
    "StaleSession": "the PKCS#11 library says it, of a session that is over",
    "StaleHandle": "the PKCS#11 library says it, of an object handle that means nothing any more",
    "ApplicationDied": "crash @ client.… ends the application",
    "TooFewCopies": "it is the client's own verdict: use fail-clone",
    "InjectedError": "name the return value or code that it should carry",
    "ClusterError": "name one of its classes",
}
