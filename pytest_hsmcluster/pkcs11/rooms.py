"""How does an output get to where there is room for it, in one call or in two?

PKCS #11 v2.40, 5.2: without a buffer a call tells the length only, which may be more than is needed; with too small a
buffer it says so, tells the length, and the operation goes on.
"""

from ..cryptoki import CKR
from ..wire.frames import Room
from .refusals import Refused, bad_arguments

Output = tuple[int, bytes]


def only_length(room: Room, enough: int) -> Output | None:
    """Return the answer to who asks for a length, or None for who wants the output.

    Args:
        enough: bytes that the output has at the most.
    """
    if not room.asked:
        raise bad_arguments("the pointer to the length of the output is NULL")
    return (enough, b"") if room.size is None else None


def given(data: bytes | None, what: str) -> bytes:
    """Return bytes that the application handed over.

    Raises:
        Refused: it has told a length, and no place (ARGUMENTS_BAD).
    """
    if data is None:
        raise bad_arguments(f"{what} is NULL, but has a length")
    return data


def fitted(room: Room, output: bytes) -> Output:
    """Return an output that fits.

    Raises:
        Refused: it does not (BUFFER_TOO_SMALL), or there is no room at all.
    """
    if not room.asked or room.size is None:
        raise bad_arguments("there is no buffer for the output")
    if len(output) > room.size:
        raise too_small(len(output), room.size)
    return len(output), output


def too_small(needed: int, size: int) -> Refused:
    """Return the refusal of a buffer; it tells how many bytes are needed."""
    why = f"the output has {needed} bytes, and the buffer {size}"
    return Refused(CKR.BUFFER_TOO_SMALL, why, ((needed, b""),))
