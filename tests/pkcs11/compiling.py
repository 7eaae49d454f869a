"""How do tests compile the PKCS#11 library, or something beside it, with other flags than the package's?"""

import shlex
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
NATIVE = ROOT / "pytest_hsmcluster" / "pkcs11" / "native"
FUZZ = ROOT / "tests" / "pkcs11" / "fuzz"
_SANITIZED = ("-g", "-O1", "-fno-omit-frame-pointer", "-fno-sanitize-recover=all")
SANITIZED = (*_SANITIZED, "-fsanitize=address,undefined")
UNDEFINED = (*_SANITIZED, "-fsanitize=undefined")
WATCHED = ("p11tool", "certtool", "openssl")


def _sources(folder: Path) -> list[str]:
    folder.mkdir(parents=True, exist_ok=True)
    generator = ROOT / "pytest_hsmcluster" / "wire" / "c_source.py"
    subprocess.run([sys.executable, str(generator), str(folder / "functions.inc")], check=True)
    return [f"-I{folder}", f"-I{NATIVE}", *sorted(map(str, NATIVE.glob("*.c")))]


def compile_with(compiler: str, *arguments: str) -> None:
    command = [*shlex.split(compiler), "-std=c11", "-Wall", "-Wextra", "-Werror", "-pthread", *arguments]
    subprocess.run(command, check=True)


def library(folder: Path, compiler: str = "cc", flags: tuple[str, ...] = SANITIZED) -> Path:
    """Compile the library into a folder, with sanitizers."""
    made = folder / "libhsmcluster_pkcs11.so"
    linking = ("-shared", "-fPIC", "-fvisibility=hidden", "-Wl,-z,nodelete", "-Wl,-Bsymbolic")
    compile_with(compiler, *flags, *_sources(folder), *linking, "-o", str(made))
    return made


def sanitizer(compiler: str = "cc") -> Path | None:
    """Return AddressSanitizer's own library, which a program has to load first; None: there is none."""
    said = subprocess.run([*shlex.split(compiler), "-print-file-name=libasan.so"], capture_output=True, text=True)
    path = Path(said.stdout.strip())
    return path if path.is_absolute() else None


def undefined(folder: Path) -> Path:
    """Compile the library with UndefinedBehaviorSanitizer alone, as valgrind wants it."""
    return library(folder, flags=UNDEFINED)


def watched(folder: Path) -> Path:
    """Write programs that run those of the same names under valgrind; in PATH, tests take them."""
    valgrind = shutil.which("valgrind")
    if valgrind is None:
        raise SystemExit("there is no valgrind: apt-get install valgrind")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for real in filter(None, map(shutil.which, WATCHED)):
        made = folder / Path(real).name
        made.write_text(f'#!/bin/sh\nexec {valgrind} -q --error-exitcode=99 {real} "$@"\n', encoding="utf-8")
        made.chmod(0o755)
    return folder


def _arguments(folder: Path) -> None:
    """Write what each function takes, for the fuzz target."""
    from pytest_hsmcluster.wire.functions import FUNCTIONS

    lines = [f"{{{', '.join(f'{kind!r}' for kind in function.takes)}}},".replace("'", '"') for function in FUNCTIONS]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "arguments.inc").write_text("\n".join(lines) + "\n", encoding="ascii")


def fuzzer(folder: Path, compiler: str = "clang") -> Path:
    """Compile the fuzz target and the library into one program of libFuzzer's."""
    _arguments(folder)
    made = folder / "fuzzer"
    flags = ("-g", "-O1", "-fsanitize=fuzzer,address,undefined", "-fno-sanitize-recover=all")
    compile_with(compiler, *flags, str(FUZZ / "target.c"), *_sources(folder), "-o", str(made))
    return made


def fuzz_target(folder: Path, compiler: str = "cc") -> Path:
    """Compile the fuzz target alone, to be loaded beside the library."""
    _arguments(folder)
    made = folder / "target.so"
    compile_with(compiler, "-shared", "-fPIC", f"-I{folder}", f"-I{NATIVE}", str(FUZZ / "target.c"), "-o", str(made))
    return made


if __name__ == "__main__":
    MAKE = {"library": library, "undefined": undefined, "watched": watched, "fuzzer": fuzzer}
    print(MAKE[sys.argv[1]](Path(sys.argv[2])))  # noqa: T201
