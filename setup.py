"""How is the PKCS#11 library built?

Everything else about the package stands in `pyproject.toml`.  The library uses nothing of Python, so one wheel serves
every Python version of a platform.  Without a C compiler the package is built without it, and works without it.
"""

import shutil
import subprocess
import sys
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.bdist_wheel import bdist_wheel
from setuptools.command.build_ext import build_ext

PACKAGE = "pytest_hsmcluster"
NATIVE = Path(PACKAGE, "pkcs11", "native")
FLAGS = ["-std=c11", "-O2", "-fvisibility=hidden", "-Wall", "-Wextra"]
# nodelete: an application may unload the library while its threads still end.  Bsymbolic: its functions are its own,
# whatever other PKCS#11 library is in the process.
LINKING = ["-pthread", "-Wl,-z,nodelete", "-Wl,-z,defs", "-Wl,-z,relro,-z,now", "-Wl,-Bsymbolic"]


class BuildLibrary(build_ext):
    def get_ext_filename(self, fullname: str) -> str:
        return str(Path(*fullname.split("."))) + ".so"

    def build_extension(self, ext: Extension) -> None:
        generated = Path(self.build_temp, "generated")
        generated.mkdir(parents=True, exist_ok=True)
        source = Path(PACKAGE, "wire", "c_source.py")
        subprocess.run([sys.executable, source, generated / "functions.inc"], check=True)
        ext.include_dirs.append(str(generated))
        compiler = self.compiler.compiler_so[0]
        if shutil.which(compiler) is None:
            self.warn(f"no C compiler ({compiler}): built without the PKCS#11 library, hsm_pkcs11 will say so")
            return
        super().build_extension(ext)


class AnyPython(bdist_wheel):
    def get_tag(self) -> tuple[str, str, str]:
        return ("py3", "none", super().get_tag()[2])


setup(
    ext_modules=[
        Extension(
            f"{PACKAGE}.pkcs11.libhsmcluster_pkcs11",
            sources=sorted(map(str, NATIVE.glob("*.c"))),
            depends=[*sorted(map(str, NATIVE.rglob("*.h"))), *sorted(map(str, Path(PACKAGE, "wire").glob("*.py")))],
            extra_compile_args=FLAGS,
            extra_link_args=LINKING,
            optional=True,
        )
    ],
    cmdclass={"build_ext": BuildLibrary, "bdist_wheel": AnyPython},
)
