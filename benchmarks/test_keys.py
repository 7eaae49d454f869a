"""What do keys cost through the client, raw, and in SoftHSM2?"""

import os
from hashlib import sha256
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from pytest_hsmcluster import Client

DATA = b"x" * 64


@pytest.mark.benchmark(group="AES-256 token key")
class TestTokenKey:
    """Budget: 100 µs on 3 HSMs."""

    def test_client(self, benchmark: Any, app: Client) -> None:
        benchmark(lambda: app.generate_key("AES", 256, label="bench"))

    def test_softhsm(self, benchmark: Any, softhsm: Any) -> None:
        from pkcs11 import KeyType

        benchmark.pedantic(lambda: softhsm.generate_key(KeyType.AES, 256, store=True, label="bench"), rounds=50)

    def test_raw(self, benchmark: Any) -> None:
        benchmark(lambda: os.urandom(32))


@pytest.mark.benchmark(group="P-256 token pair")
class TestTokenPair:
    def test_client(self, benchmark: Any, app: Client) -> None:
        benchmark(lambda: app.generate_key_pair("EC", "secp256r1", label="bench"))

    def test_softhsm(self, benchmark: Any, softhsm: Any) -> None:
        from pkcs11 import Attribute, KeyType
        from pkcs11.util.ec import encode_named_curve_parameters

        curve = {Attribute.EC_PARAMS: encode_named_curve_parameters("secp256r1")}
        parameters = softhsm.create_domain_parameters(KeyType.EC, curve, local=True)
        benchmark.pedantic(lambda: parameters.generate_keypair(store=True), rounds=50)

    def test_raw(self, benchmark: Any) -> None:
        benchmark(lambda: ec.generate_private_key(ec.SECP256R1()))


@pytest.mark.benchmark(group="AES session key")
class TestSessionKey:
    def test_client(self, benchmark: Any, app: Client) -> None:
        benchmark(lambda: app.generate_key("AES", 256, token=False))

    def test_softhsm(self, benchmark: Any, softhsm: Any) -> None:
        from pkcs11 import KeyType

        benchmark.pedantic(lambda: softhsm.generate_key(KeyType.AES, 256), rounds=200)


@pytest.mark.benchmark(group="ECDSA P-256 SHA-256 signature")
class TestSign:
    """Budget: raw + 35 µs."""

    def test_client(self, benchmark: Any, app: Client) -> None:
        pair = app.generate_key_pair("EC", "secp256r1")
        benchmark(lambda: app.sign(pair.private, DATA))

    def test_softhsm(self, benchmark: Any, softhsm: Any) -> None:
        from pkcs11 import Attribute, KeyType, Mechanism
        from pkcs11.util.ec import encode_named_curve_parameters

        curve = {Attribute.EC_PARAMS: encode_named_curve_parameters("secp256r1")}
        _, private = softhsm.create_domain_parameters(KeyType.EC, curve, local=True).generate_keypair()
        # SoftHSM2 2.6.1 has no ECDSA with a hash of its own.
        benchmark(lambda: private.sign(sha256(DATA).digest(), mechanism=Mechanism.ECDSA))

    def test_raw(self, benchmark: Any) -> None:
        key, scheme = ec.generate_private_key(ec.SECP256R1()), ec.ECDSA(hashes.SHA256())
        benchmark(lambda: key.sign(DATA, scheme))


@pytest.mark.benchmark(group="AES-256-GCM, 64 bytes")
class TestEncrypt:
    """Budget: raw + 35 µs."""

    def test_client(self, benchmark: Any, app: Client) -> None:
        key = app.generate_key("AES", 256)
        benchmark(lambda: app.encrypt(key, DATA))

    def test_raw(self, benchmark: Any) -> None:
        aead = AESGCM(os.urandom(32))
        benchmark(lambda: aead.encrypt(os.urandom(12), DATA, None))
