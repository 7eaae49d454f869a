"""What a fuzzer has found interesting is replayed: with the library as it was built, and without a fuzzer."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from pytest_hsmcluster.pkcs11 import active
from tests.pkcs11.compiling import FUZZ, fuzz_target

CORPUS = sorted((FUZZ / "corpus").iterdir())

REPLAY = """
import ctypes, pathlib, sys
ctypes.CDLL(sys.argv[1], mode=ctypes.RTLD_GLOBAL)
target = ctypes.CDLL(sys.argv[2]).LLVMFuzzerTestOneInput
for path in sorted(pathlib.Path(sys.argv[3]).iterdir()):
    data = path.read_bytes()
    print(path.name, target(data, ctypes.c_size_t(len(data))), flush=True)
"""


@pytest.mark.timeout(120)
@pytest.mark.skipif(shutil.which("cc") is None, reason="apt-get install gcc libc6-dev")
def test_the_library_takes_every_input(tmp_path: Path) -> None:
    """In a process of its own: the last name that it says is that of the input that took it down."""
    target = fuzz_target(tmp_path)
    command = [sys.executable, "-c", REPLAY, active.MODULE, target, FUZZ / "corpus"]
    done = subprocess.run(command, capture_output=True, text=True, env=dict(os.environ))

    assert done.returncode == 0, done.stdout.splitlines()[-1:] + [done.stderr[-2000:]]
    assert done.stdout.split() == [word for path in CORPUS for word in (path.name, "0")]


def test_the_corpus_is_small() -> None:
    """Some tens of inputs, which `make fuzz` begins with."""
    assert 10 <= len(CORPUS) <= 99
    assert sum(path.stat().st_size for path in CORPUS) < 100_000
