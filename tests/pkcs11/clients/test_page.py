"""Does docs/pkcs11.md tell the truth?"""

import re
from pathlib import Path

import pytest

from pytest_hsmcluster import Pkcs11Door
from pytest_hsmcluster.service.profile import field_names

PAGE = Path(__file__).parents[3] / "docs" / "pkcs11.md"
TEXT = PAGE.read_text(encoding="utf-8")


def rows(heading: str) -> list[str]:
    """Return the first cells of the table that has this heading."""
    table = TEXT.partition(f"| {heading} |")[2].partition("\n\n")[0]
    return re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE)


def test_the_test_to_copy_passes(pytester: pytest.Pytester) -> None:
    """As it stands there."""
    pytest.importorskip("pkcs11", reason="python-pkcs11 is not installed: pip install python-pkcs11")
    code = re.findall(r"^```python\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)[0]
    pytester.makepyfile(test_payroll=code)
    pytester.runpytest_subprocess("-q", "-p", "no:randomly", "-p", "no:cacheprovider").assert_outcomes(passed=1)


def test_its_names_are_there(hsm_pkcs11: Pkcs11Door) -> None:
    """Attributes of the fixture, and fields of the profile."""
    assert len(attributes := rows("attribute of `hsm_pkcs11`")) == 7
    assert [name for name in attributes if not hasattr(hsm_pkcs11, name)] == []
    assert len(fields := rows("field of the profile")) == 6
    assert set(fields) <= set(field_names())
