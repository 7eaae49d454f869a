"""What did one HSM write into its audit log?

Fields and opcodes are those of the AWS CloudHSM User Guide, "Interpreting HSM audit logs"
and "HSM audit log reference".  Opcodes whose number is not published have None.
"""

from dataclasses import dataclass
from enum import Enum


class Opcode(Enum):
    """Commands as the audit log names them, with their numbers where these are published."""

    INIT_TOKEN = ("CN_INIT_TOKEN", 0x1)
    CREATE_USER = ("CN_CREATE_USER", 0x3)
    CREATE_CO = ("CN_CREATE_CO", 0x4)
    CHANGE_PSWD = ("CN_CHANGE_PSWD", 0x9)
    LOGIN = ("CN_LOGIN", 0xD)
    LOGOUT = ("CN_LOGOUT", 0xE)
    DESTROY_OBJECT = ("CN_DESTROY_OBJECT", 0x11)
    GENERATE_KEY_PAIR = ("CN_GENERATE_KEY_PAIR", 0x19)
    WRAP_KEY = ("CN_WRAP_KEY", 0x1A)
    EXTRACT_MASKED = ("CN_EXTRACT_MASKED_OBJECT_USER", 0xF0)
    INSERT_MASKED = ("CN_INSERT_MASKED_OBJECT_USER", 0xF1)
    DELETE_USER = ("CN_DELETE_USER", None)
    GENERATE_KEY = ("CN_GENERATE_KEY", None)
    CREATE_OBJECT = ("CN_CREATE_OBJECT", None)
    UNWRAP_KEY = ("CN_UNWRAP_KEY", None)
    DERIVE_KEY = ("CN_DERIVE_KEY", None)
    SHARE_OBJECT = ("CN_SHARE_OBJECT", None)
    MODIFY_OBJECT = ("CN_MODIFY_OBJECT", None)
    TOMBSTONE_OBJECT = ("CN_TOMBSTONE_OBJECT", None)
    BACKUP_BEGIN = ("CN_BACKUP_BEGIN", None)
    BACKUP_END = ("CN_BACKUP_END", None)
    RESTORE_BEGIN = ("CN_RESTORE_BEGIN", None)
    RESTORE_END = ("CN_RESTORE_END", None)


RESPONSES = {
    0x00: "HSM Return: SUCCESS",
    0x1B: "CSP Error: ERR_BAD_PKCS_DATA",
    0x8C: "HSM Error: Already maximum number of sessions are issued",
    0x9D: "HSM Error: user isn't initialized or user with this name doesn't exist",
    0xA3: "HSM Error: RET_USER_LOGIN_FAILURE",
    0xA8: "HSM Error: Invalid object handle is passed to this operation",
    0xB3: "HSM Error: This operation violates the current configured/FIPS policies",
    0xBB: "HSM Error: HSM is already busy generating the keys(or random bytes) for another request",
    0xC6: "HSM Error: Key Access is denied",
    0xCE: "HSM Error: This user doesn't exist",
    0xDB: "HSM Error: Invalid User Type.",
}
"""Response codes with their published texts (AWS CloudHSM User Guide, `Error2String` and the command pages).

A complete table is not published; other codes are written with the name of our error class (a guess).
"""


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """One entry of an audit log.

    Attributes:
        time_us: instant in µs of simulated time.
        sequence: from 0, without gaps; a new HSM begins at 0.
        reboots: how often this HSM has been started again.
        opcode: name; `number` its number, or None where none is published.
        session: number of the session, 0 for the service.
        response: code; 0 is success.
        text: the response in words.
        user: who asked; handles: the keys that it was about.
    """

    time_us: int
    sequence: int
    reboots: int
    opcode: str
    number: int | None
    session: int
    response: int
    text: str
    user: str | None
    handles: tuple[int, ...]

    def __str__(self) -> str:
        number = "" if self.number is None else f" (0x{self.number:x})"
        about = f"\nUser Name: {self.user}" if self.user else ""
        keys = "".join(f"\nPriv/Secret Key Handle: {handle}" for handle in self.handles)
        return (
            f"Time: {self.time_us // 1_000_000}, usecs:{self.time_us % 1_000_000}\n"
            f"Sequence No : {self.sequence:#x}\nReboot counter : {self.reboots:#x}\n"
            f"Opcode : {self.opcode}{number}\nSession Handle : {self.session:#x}\n"
            f"Response : {self.response}:{self.text}{about}{keys}"
        )


AuditRecord = tuple[int, int, str, int, int, str, str | None, tuple[int, ...]]
"""instant ns, reboots, name of the opcode, session, response, text, user, handles"""


def entries(records: list[AuditRecord]) -> list[AuditEntry]:
    """Return the readable form of an audit log."""
    return [
        AuditEntry(
            at // 1000,
            n,
            reboots,
            Opcode[opcode].value[0],
            Opcode[opcode].value[1],
            session,
            response,
            text,
            user,
            handles,
        )
        for n, (at, reboots, opcode, session, response, text, user, handles) in enumerate(records)
    ]
