"""What a fuzzer has found interesting is replayed without a fuzzer: with the library as it was built, and sanitized."""

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from pytest_hsmcluster.pkcs11 import active
from tests.pkcs11.compiling import FUZZ, fuzz_target, library, sanitizer

CORPUS = sorted((FUZZ / "corpus").iterdir())

REPLAY = """
import ctypes, pathlib, sys
ctypes.CDLL(sys.argv[1], mode=ctypes.RTLD_GLOBAL)
target = ctypes.CDLL(sys.argv[2]).LLVMFuzzerTestOneInput
for path in sorted(pathlib.Path(sys.argv[3]).iterdir()):
    data = path.read_bytes()
    print(path.name, target(data, ctypes.c_size_t(len(data))), flush=True)
"""


pytestmark = [
    pytest.mark.timeout(120),
    pytest.mark.skipif(shutil.which("cc") is None, reason="apt-get install gcc libc6-dev"),
]


def test_the_library_takes_every_input(tmp_path: Path) -> None:
    """In a process of its own: the last name that it says is that of the input that took it down."""
    replay(active.MODULE, fuzz_target(tmp_path), os.environ)


def test_the_library_takes_every_input_with_sanitizers(tmp_path: Path) -> None:
    """AddressSanitizer and UndefinedBehaviorSanitizer look on: nothing is read or written beside the buffers."""
    runtime = sanitizer()
    if runtime is None:
        pytest.skip("there is no libasan here: apt-get install gcc")
    variables = {**os.environ, "LD_PRELOAD": str(runtime), "ASAN_OPTIONS": "detect_leaks=0"}
    replay(library(tmp_path), fuzz_target(tmp_path), variables)


def replay(module: Path, target: Path, variables: Mapping[str, str]) -> None:
    """Replay the corpus, and expect it to end well."""
    command = [sys.executable, "-c", REPLAY, module, target, FUZZ / "corpus"]
    done = subprocess.run(command, capture_output=True, text=True, env=dict(variables))

    assert done.returncode == 0, done.stdout.splitlines()[-1:] + [done.stderr[-2000:]]
    assert done.stdout.split() == [word for path in CORPUS for word in (path.name, "0")]


def test_the_corpus_is_small() -> None:
    """A hundred inputs, which `make fuzz` begins with."""
    assert 10 <= len(CORPUS) <= 120
    assert sum(path.stat().st_size for path in CORPUS) < 20_000
