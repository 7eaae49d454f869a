"""How does a test compile and start the Java program?"""

import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from pytest_hsmcluster import Pkcs11Door
from tests.pkcs11.clients.programs import Program, built, starting
from tests.pkcs11.clients.sunpkcs11 import working, write_configuration

CBC = "AES/CBC/PKCS5Padding"
CTR = "AES/CTR/NoPadding"
NEEDS_JAVA = [
    pytest.mark.skipif(shutil.which("javac") is None, reason="no javac: apt-get install openjdk-17-jdk-headless"),
    pytest.mark.timeout(180),
]


def newer_java() -> str | None:
    """Return a `java` of version 18 or newer, if there is one."""
    for release in sorted(Path("/usr/lib/jvm").glob("*/release")):
        found = re.search(r'^JAVA_VERSION="(\d+)', release.read_text(), re.MULTILINE)
        if found and int(found[1]) >= 18:
            return str(release.parent / "bin" / "java")
    return None


@contextmanager
def java_programs(door: Pkcs11Door, factory: pytest.TempPathFactory) -> Iterator[Callable[..., Program]]:
    """Start the program within the block, with lines of its own for the configuration, or those that work."""
    source = Path(__file__).parent / "java" / "HsmProgram.java"
    classes = built(
        factory,
        "java-classes",
        lambda folder: subprocess.run(["javac", "-d", folder, source], check=True, timeout=120),
    )
    folder = factory.mktemp("sunpkcs11")
    with starting(door) as start:

        def begin(*lines: str, run_by: str = "java") -> Program:
            path = folder / f"{len(list(folder.iterdir()))}.cfg"
            write_configuration(path, door, *(lines or working("payroll")))
            return start(run_by, "-Xshare:auto", "-XX:TieredStopAtLevel=1", "-cp", classes, "HsmProgram", path)

        yield begin
