"""What do tests of real clients share: programs, the environment in which they find the door, a second opinion."""

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256

from tests.pkcs11.ckcalls import let_go

Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def program() -> Callable[[str, str], str]:
    """Return the path of a program; without it the test is skipped with the command that installs it."""

    def find(name: str, package: str) -> str:
        path = shutil.which(name)
        if path is None:
            pytest.skip(f"there is no {name} here: apt-get install {package}")
        return path

    return find


@pytest.fixture
def run(hsm_pkcs11: Any, tmp_path: Path) -> Run:
    """Run a program that finds the door: `run(command, code=0, **variables)`, in `tmp_path`, with nothing to read.

    The program is to end with `code`; None is any.
    """

    def running(
        command: Sequence[object], code: int | None = 0, **variables: str
    ) -> "subprocess.CompletedProcess[str]":
        __tracebackhide__ = True  # a traceback would show the variables, and a PIN among them
        done = subprocess.run(
            [str(word) for word in command],
            env={**os.environ, "LC_ALL": "C", **hsm_pkcs11.env, **variables},
            cwd=tmp_path,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=120,
        )
        if code is not None and done.returncode != code:
            pytest.fail(f"{command[0]} ended with {done.returncode}, not {code}\n{done.stdout}\n{done.stderr}")
        return done

    return running


@pytest.fixture
def pin_file(hsm_pkcs11: Any, tmp_path: Path) -> Path:
    """The PIN in a file that only its user may read: command lines and URIs are seen by everybody."""
    path = tmp_path / "pin"
    path.touch(mode=0o600)
    path.write_text(hsm_pkcs11.user_pin, encoding="utf-8")
    return path


@pytest.fixture
def verified() -> Callable[[Any, bytes, bytes], bool]:
    """Return whether `cryptography` accepts a signature with SHA-256 that the door made.

    r and s of ECDSA as PKCS#11 writes them, or as DER; RSA with PKCS #1 v1.5.
    """

    def judge(public: Any, signature: bytes, data: bytes) -> bool:
        with suppress(InvalidSignature):
            if isinstance(public, rsa.RSAPublicKey):
                public.verify(signature, data, padding.PKCS1v15(), SHA256())
                return True
            half = (public.key_size + 7) // 8
            if len(signature) == 2 * half:
                r, s = (int.from_bytes(part, "big") for part in (signature[:half], signature[half:]))
                signature = encode_dss_signature(r, s)
            public.verify(signature, data, ec.ECDSA(SHA256()))
            return True
        return False

    return judge


@pytest.fixture
def handed_over(hsm_pkcs11: Any) -> Iterator[None]:
    """For the test the library belongs to nobody in this process; python-pkcs11 initialises it anew afterwards.

    PyKCS11 ends that when it is unloaded.
    """

    let_go(hsm_pkcs11.module)
    yield
    let_go(hsm_pkcs11.module)
