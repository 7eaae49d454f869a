"""Does docs/pkcs11.md tell the truth?"""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

from pytest_hsmcluster import Pkcs11Door, Profile

DOCS = Path(__file__).parents[3] / "docs"
TEXT = (DOCS / "pkcs11.md").read_text(encoding="utf-8")
CODE = re.findall(r"^```python\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)


def rows(heading: str) -> dict[str, str]:
    """Return the first two cells of the table that has this heading."""
    table = TEXT.partition(f"| {heading} |")[2].partition("\n\n")[0]
    return dict(re.findall(r"^\| `(\w+)` \| (.*?) \|", table, re.MULTILINE))


def test_the_test_to_copy_passes(pytester: pytest.Pytester) -> None:
    """As it stands there."""
    pytest.importorskip("pkcs11", reason="python-pkcs11 is not installed: pip install python-pkcs11")
    pytester.makepyfile(test_payroll=CODE[0])
    pytester.runpytest_subprocess("-q", "-p", "no:randomly", "-p", "no:cacheprovider").assert_outcomes(passed=1)


def test_it_works_without_pytest(tmp_path: Path) -> None:
    """The program that stands there."""
    pytest.importorskip("pkcs11", reason="python-pkcs11 is not installed: pip install python-pkcs11")
    [program] = [code for code in CODE if "with HsmCluster" in code]
    subprocess.run([sys.executable, "-c", program], cwd=tmp_path, check=True, timeout=60)


def test_every_attribute_is_told(hsm_pkcs11: Pkcs11Door) -> None:
    """What a test reads; who opens a door by hand adds clusters and closes it, or has a block do it."""
    public = {name for name in dir(hsm_pkcs11) if not name.startswith("_")}
    assert set(rows("attribute of `hsm_pkcs11`")) == public - {"add", "close", "failures"}


def test_every_switch_is_told_with_its_default() -> None:
    """Those of the profile which the tests of the library show, as docs/fidelity.md says."""
    fidelity = (DOCS / "fidelity.md").read_text(encoding="utf-8").partition("## The profile")[2].partition("\n## ")[0]
    shown = re.findall(r"^\| `(\w+)` \|.*\| `tests/pkcs11/", fidelity, re.MULTILINE)
    switches = rows("field of the profile")
    assert set(switches) == set(shown)
    for name, told in switches.items():
        default = re.match(r"`?([^`: ]+)", told.replace("1,024,", "1024 "))
        assert default is not None
        assert ast.literal_eval(default[1]) == getattr(Profile(), name), name
