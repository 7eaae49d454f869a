"""The C library is generated from the table."""

import re
import subprocess
import sys
from pathlib import Path

from pytest_hsmcluster.wire import c_source as module
from pytest_hsmcluster.wire.c_source import c_source
from pytest_hsmcluster.wire.frames import _SHAPES
from pytest_hsmcluster.wire.functions import FUNCTIONS, IN, LIMIT, VERSION


def test_every_function_is_defined_once() -> None:
    """All but C_GetFunctionList, which is written by hand: it is the way in."""
    defined = re.findall(r"^CK_RV (C_\w+)\(", c_source(), flags=re.MULTILINE)

    assert defined == [function.name for function in FUNCTIONS if function.name != "C_GetFunctionList"]


def test_functions_that_are_not_offered_ask_nobody() -> None:
    """They answer in the library, with their arguments untouched."""
    body = re.search(r"CK_RV C_SeedRandom\(.*?\n}", c_source(), flags=re.DOTALL)

    assert body is not None
    assert "return CKR_FUNCTION_NOT_SUPPORTED;" in body.group() and "call(" not in body.group()


def test_a_function_hands_on_its_number_and_what_it_takes() -> None:
    """Behind them its arguments, in order."""
    assert (
        "CK_RV C_Sign(CK_ULONG a0, CK_BYTE_PTR a1, CK_ULONG a2, CK_BYTE_PTR a3, CK_ULONG_PTR a4)\n{\n"
        "    static const unsigned char takes[] = {ULONG_ARG, BYTES_ARG, OUTPUT_ARG, END};\n"
        "    return call(44, takes, a0, a1, a2, a3, a4);\n}\n"
    ) in c_source()


def test_both_ends_number_alike() -> None:
    """Kinds, shapes, version and limits are the same in C and in Python."""
    text = c_source()
    kinds = re.search(r"enum kind {(.*?)}", text)
    shapes = re.search(r"enum shape {(.*?)}", text)

    assert kinds is not None and shapes is not None
    assert len(kinds.group(1).split(",")) == 1 + len(IN) < 256
    assert [shape.strip().lower() for shape in shapes.group(1).split(",")] == list(_SHAPES)
    assert f"#define WIRE_VERSION {VERSION}\n#define FRAME_LIMIT {LIMIT}\n#define MOST_ARGUMENTS 6\n" in text


def test_it_is_written_without_the_package(tmp_path: Path) -> None:
    """The build has nothing of the package installed, not even what it depends on."""
    written = tmp_path / "functions.inc"
    subprocess.run([sys.executable, "-I", "-S", module.__file__, written], check=True, cwd=tmp_path)

    assert written.read_text(encoding="ascii") == c_source()
