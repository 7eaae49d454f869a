"""Does `cryptography` agree with what came out of an HSM?

The key material is read from the key stores; what is done with it here, is done by the library alone.
"""

from collections.abc import Iterator

from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives import cmac, hashes, keywrap, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.ciphers import algorithms
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from pytest_hsmcluster import KeyHandle
from pytest_hsmcluster.stories.drawing import DATA
from pytest_hsmcluster.stories.playing import Player, Told
from pytest_hsmcluster.stories.story import Ref

from .view import View


class Crypto:
    """Remembers what was made under which material, and looks into it.

    Attributes:
        made: name of a ciphertext → key material, and what was authenticated along with it.
    """

    def __init__(self, player: Player) -> None:
        self.player = player
        self.made: dict[str, tuple[bytes, bytes]] = {}
        self._raw: dict[int, bytes] = {}

    def of_step(self, told: Told, before: View, after: View) -> Iterator[str]:
        """Yield what is wrong with what one step gave."""
        for view in (before, after):
            for held in view.keys.values():
                for handle, key in held.items():
                    raw = self._raw.setdefault(handle, key.material.encoded)
                    if raw != key.material.encoded:
                        yield f"the material of {key.name} changed after {told.step}"
        rule = getattr(self, f"_{told.step.does}", None)
        if rule is not None and told.error is None:
            yield from rule(told)
        elif rule is not None and type(told.error).__name__ in ("SignatureInvalid", "DataInvalid"):
            yield from self._refused(told)

    def _encrypt(self, told: Told) -> Iterator[str]:
        raw, about = self._material(told.step.args[0]), dict(told.step.options).get("aad", b"")
        if raw is None:
            return
        self.made[str(told.step.gives)] = (raw, about)
        try:
            if AESGCM(raw).decrypt(told.result[:12], told.result[12:], about) != DATA:
                yield f"{told.step} encrypted something else"
        except InvalidTag:
            yield f"{told.step} is not AES-GCM under its key"

    def _decrypt(self, told: Told) -> Iterator[str]:
        if told.result != DATA:
            yield f"{told.step} gave something else than was encrypted"

    def _sign(self, told: Told) -> Iterator[str]:
        key = self._material(told.step.args[0])
        if key is not None and not self._is_signature(told.step.args[0], key, told.result):
            yield f"{told.step} is no signature of its data"

    def _verify(self, told: Told) -> Iterator[str]:
        if told.step.args[1] != DATA:
            yield f"{told.step} was ok, and other data was signed"

    def _refused(self, told: Told) -> Iterator[str]:
        """A refusal that is not an injected one has to be right."""
        if "injected by a fault" in str(told.error):
            return
        if told.step.does == "verify" and told.step.args[1] == DATA and self._same_key(told):
            yield f"{told.step} was refused, and the signature is right"
        if told.step.does == "decrypt":
            made = self.made.get(told.step.args[1].name)
            if made is not None and made == (self._material(told.step.args[0]), b""):
                yield f"{told.step} was refused, and the ciphertext is right"

    def _wrap_key(self, told: Told) -> Iterator[str]:
        raw = self._material(told.step.args[0])
        kek = self._material(dict(told.step.options)["with_key"])
        if raw is None or kek is None:
            return
        try:
            if keywrap.aes_key_unwrap_with_padding(kek, told.result) != raw:
                yield f"{told.step} wrapped something else"
        except keywrap.InvalidUnwrap:
            yield f"{told.step} is not wrapped under its key"

    def _unwrap_key(self, told: Told) -> Iterator[str]:
        blob = self.player.things[told.step.args[0].name]
        kek, raw = self._material(dict(told.step.options)["with_key"]), self._raw.get(told.result.number)
        if kek is not None and raw is not None and keywrap.aes_key_unwrap_with_padding(kek, blob) != raw:
            yield f"{told.step} gave another key than was wrapped"

    def _import_key(self, told: Told) -> Iterator[str]:
        if self._raw.get(told.result.number, told.step.args[1]) != told.step.args[1]:
            yield f"{told.step} keeps other bytes"

    def _public_key(self, told: Told) -> Iterator[str]:
        der = told.result.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
        if self._material(told.step.args[0]) not in (der, None):
            yield f"{told.step} gave another public key"

    # -- inside --------------------------------------------------------------------------

    def _material(self, ref: Ref) -> bytes | None:
        thing = self.player.things[ref.name]
        handle = getattr(thing, ref.part) if ref.part else thing
        return self._raw.get(handle.number) if isinstance(handle, KeyHandle) else None

    def _same_key(self, told: Told) -> bool:
        """Whether a signature that is verified was made by the key that verifies."""
        signature, raw = self.player.things[told.step.args[2].name], self._material(told.step.args[0])
        return raw is not None and self._is_signature(told.step.args[0], raw, signature)

    def _is_signature(self, ref: Ref, raw: bytes, signature: bytes) -> bool:
        try:
            if not ref.part:
                mac = cmac.CMAC(algorithms.AES(raw))
                mac.update(DATA)
                mac.verify(signature)
                return True
            loaded = serialization.load_der_private_key(raw, None) if ref.part == "private" else None
            public = loaded.public_key() if loaded is not None else serialization.load_der_public_key(raw)
            assert isinstance(public, ec.EllipticCurvePublicKey)
            half = len(signature) // 2
            r, s = int.from_bytes(signature[:half]), int.from_bytes(signature[half:])
            public.verify(encode_dss_signature(r, s), DATA, ec.ECDSA(hashes.SHA256()))
        except (InvalidSignature, ValueError):
            return False
        return True
