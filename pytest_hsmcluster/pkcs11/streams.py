"""How does a cipher go on over several parts?

Each part is one command to an HSM, with what the part before has left: an IV, a counter, some bytes that are no whole
block yet.
"""

from collections.abc import Callable
from typing import Any

from ..cryptoki import CKM, CKR
from ..keys.parameters import CtrParams, IvParams
from .refusals import Refused

Run = Callable[[bytes, CKM, Any], bytes]
"""Encrypts or decrypts data by a mechanism with parameters."""

_BLOCKS = {
    CKM.AES_ECB: 16,
    CKM.AES_CBC: 16,
    CKM.AES_CBC_PAD: 16,
    CKM.DES3_ECB: 8,
    CKM.DES3_CBC: 8,
    CKM.DES3_CBC_PAD: 8,
}
_AT_ONCE = 16000
"""Bytes for one command.  That each part of a stream has the limit of an operation of its own is a guess."""

_UNPADDED = {CKM.AES_CBC_PAD: CKM.AES_CBC, CKM.DES3_CBC_PAD: CKM.DES3_CBC}


class Stream:
    """One multi-part encryption or decryption.

    Args:
        mechanism: a block cipher's.
        params: its parameters, at the beginning.
        decrypts: whether it decrypts.
        run: does one part.

    Raises:
        Refused: the mechanism works in one part only (MECHANISM_INVALID).

    Source:
        AWS CloudHSM User Guide, "Known issues for the PKCS #11 library": AES-GCM has no multi-part operations.
    """

    def __init__(self, mechanism: CKM, params: Any, decrypts: bool, run: Run) -> None:
        if mechanism not in _BLOCKS and mechanism is not CKM.AES_CTR:
            raise Refused(CKR.MECHANISM_INVALID, f"CKM_{mechanism.name} works in one part only")
        self._mechanism = mechanism
        self._params = params
        self._decrypts = decrypts
        self._run = run
        self._left = b""
        self._counted = 0

    def size(self, more: int) -> int:
        """Return how many bytes `update()` gives for so many more."""
        if self._mechanism is CKM.AES_CTR:
            return more
        return len(self._left) + more - self._kept(len(self._left) + more)

    @property
    def most(self) -> int:
        """How many bytes `final()` gives at the most."""
        return _BLOCKS[self._mechanism] if self._mechanism in _UNPADDED else 0

    def update(self, data: bytes) -> bytes:
        """Return what can be told so far."""
        if self._mechanism is CKM.AES_CTR:
            return self._count(data)
        whole = self._left + data
        ready = whole[: len(whole) - self._kept(len(whole))]
        if self._mechanism not in _UNPADDED:
            output = self._chained(ready, self._mechanism) if ready else b""
        else:
            # The padded mechanism has no limit, but the one that does its parts has.
            cut = [ready[at : at + _AT_ONCE] for at in range(0, len(ready), _AT_ONCE)]
            output = b"".join([self._chained(one, _UNPADDED[self._mechanism]) for one in cut])
        self._left = whole[len(ready) :]
        return output

    def final(self) -> bytes:
        """Return the rest.

        Raises:
            Refused: bytes are left that are no whole block.
        """
        if self._mechanism in _UNPADDED and (self._left or not self._decrypts):
            return self._run(self._left, self._mechanism, self._params)
        if self._left or self._mechanism in _UNPADDED:
            wrong = CKR.ENCRYPTED_DATA_LEN_RANGE if self._decrypts else CKR.DATA_LEN_RANGE
            raise Refused(wrong, f"CKM_{self._mechanism.name}: {len(self._left)} bytes are left, which are no block")
        return b""

    def _kept(self, whole: int) -> int:
        """Return how many of so many bytes have to wait for more."""
        block = _BLOCKS[self._mechanism]
        kept = whole % block
        # The last block of a padded ciphertext may be padding: it waits for the end.
        return block if self._decrypts and self._mechanism in _UNPADDED and whole and not kept else kept

    def _chained(self, data: bytes, mechanism: CKM) -> bytes:
        output = self._run(data, mechanism, self._params)
        if isinstance(self._params, IvParams):
            last = data if self._decrypts else output
            self._params = IvParams(last[-len(self._params.iv) :])
        return output

    def _count(self, data: bytes) -> bytes:
        """Go on in the middle of a counter block if need be."""
        if not data:
            return b""
        skipped = self._counted % 16
        begin = self._params
        number = int.from_bytes(begin.counter, "big")
        low = (1 << begin.counter_bits) - 1
        moved = (number & ~low) | ((number + self._counted // 16) & low)
        params = CtrParams(moved.to_bytes(16, "big"), begin.counter_bits)
        self._counted += len(data)
        return self._run(bytes(skipped) + data, self._mechanism, params)[skipped:]
