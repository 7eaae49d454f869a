"""Does python-pkcs11's own test suite fail only where CloudHSM would?"""

import os
import re
import stat
import subprocess
import sys
import tarfile
import tempfile
from fnmatch import fnmatchcase
from importlib.metadata import version
from pathlib import Path
from xml.etree import ElementTree

import pytest

from tests.pkcs11.clients import upstream

pytest.importorskip("pkcs11", reason="python-pkcs11 is not installed: pip install python-pkcs11")
pytest.importorskip("parameterized", reason="the suite needs it: pip install parameterized")

PAGE = Path(__file__).parents[3] / "docs" / "pkcs11.md"

# A test that fails in its set-up leaves its session behind, and all after it would fail at the login.
CONFTEST = """
import contextlib
import pytest

@pytest.fixture(autouse=True)
def closed_session(request):
    yield
    session = getattr(request.instance, "session", None)
    if session is not None:
        with contextlib.suppress(Exception):
            session.close()
"""


@pytest.fixture(scope="session")
def archive():
    """The source distribution of python-pkcs11, got by pip, and kept in a folder of this user's."""
    if version("python-pkcs11") != upstream.VERSION:
        pytest.skip(f"the table is that of another version: pip install python-pkcs11=={upstream.VERSION}")
    cache = Path(tempfile.gettempdir(), f"hsmcluster-upstream-{os.getuid()}")
    cache.mkdir(mode=0o700, exist_ok=True)
    found = cache.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o077:
        pytest.skip(f"{cache} is not a private folder of this user: remove it")
    kept = cache / f"python_pkcs11-{upstream.VERSION}.tar.gz"
    if not kept.exists():
        command = f"pip download --no-deps --no-binary :all: python-pkcs11=={upstream.VERSION}"
        with tempfile.TemporaryDirectory(dir=cache) as folder:
            subprocess.run(
                [sys.executable, "-m", *command.split(), "--quiet", "--dest", folder], capture_output=True, check=False
            )
            got = list(Path(folder).glob("*.tar.gz"))
            if not got:
                pytest.skip(f"the suite cannot be had: {command}")
            os.replace(got[0], kept)
    return kept


@pytest.fixture
def outcomes(archive, run, hsm_pkcs11, tmp_path):
    """Run the suite, in a process of its own: `outcomes(change)` → test → `passed`, `failed`, `skipped`.

    The suite takes its PIN from the environment: that is its own way.
    """

    def running(change=lambda text: text):
        with tarfile.open(archive) as packed:
            # Only the tests: beside them lies a package without its compiled part, which would be imported.
            for member in packed.getmembers():
                if re.fullmatch(r"[^/]+/tests/\w+\.py", member.name):
                    place = tmp_path / "tests" / Path(member.name).name
                    place.parent.mkdir(exist_ok=True)
                    place.write_text(change(packed.extractfile(member).read().decode()), encoding="utf-8")
        (tmp_path / "conftest.py").write_text(CONFTEST, encoding="utf-8")
        command = "-m pytest -c /dev/null --rootdir=. -p no:cacheprovider -W ignore --junitxml=results.xml -q tests"
        run(
            [sys.executable, *command.split()],
            code=1,
            PYTEST_DISABLE_PLUGIN_AUTOLOAD="1",
            PYTEST_ADDOPTS="",
            PKCS11_MODULE=hsm_pkcs11.module,
            PKCS11_TOKEN_LABEL=hsm_pkcs11.token_label,
            PKCS11_TOKEN_PIN=hsm_pkcs11.user_pin,
        )
        return {
            f"{case.get('classname')}.{case.get('name')}".removeprefix("tests.test_"): outcome(case)
            for case in ElementTree.parse(tmp_path / "results.xml").iter("testcase")
        }

    return running


def outcome(case):
    kinds = {child.tag for child in case}
    return "failed" if kinds & {"failure", "error"} else "skipped" if "skipped" in kinds else "passed"


def fitting(names, table):
    """Return the names that fit a pattern of the table; each pattern has to fit one."""
    fits = {pattern: {name for name in names if fnmatchcase(name, pattern)} for pattern in table}
    assert [pattern for pattern, some in fits.items() if not some] == []
    return set().union(*fits.values())


def patterns(*tables):
    return [pattern for table in tables for some in table.values() for pattern in some]


def named(outcomes, kind):
    return {name for name, outcome in outcomes.items() if outcome == kind}


@pytest.mark.hsm_cluster(sdk=5, read_only_sessions="allowed")
def test_the_suite_fails_where_cloudhsm_would(outcomes):
    """Every test does as the table says, with the one switch that lets the suite open its sessions."""
    all_of_them = outcomes()
    skipped = fitting(all_of_them, patterns(upstream.SKIPPED))
    failed = fitting(all_of_them, patterns(upstream.FAILS)) - skipped
    assert named(all_of_them, "skipped") == skipped
    assert named(all_of_them, "failed") == failed
    assert counts(all_of_them) == told_by_the_page("as it is")


@pytest.mark.hsm_cluster(sdk=5, read_only_sessions="allowed")
def test_longer_rsa_keys_leave_nothing_to_the_first_reason(outcomes):
    """With 2,048 bits where the suite has 1,024, the RSA tests pass, or have another reason."""
    all_of_them = outcomes(lambda text: text.replace("RSA, 1024", "RSA, 2048"))
    others = {why: names for why, names in upstream.FAILS.items() if not why.startswith("RSA keys")}
    failed = fitting(all_of_them, patterns(others, upstream.FAILS_WITH_LONGER_RSA))
    assert named(all_of_them, "failed") == failed - named(all_of_them, "skipped")
    assert counts(all_of_them) == told_by_the_page("with RSA keys of 2,048 bits")


@pytest.mark.hsm_cluster(sdk=5)
def test_without_the_switch_nothing_passes_that_opens_a_session(outcomes, hsm_pkcs11):
    """SDK 5 refuses them all, and says why."""
    all_of_them = outcomes()
    assert named(all_of_them, "passed") == fitting(all_of_them, upstream.WITHOUT_SESSION) - named(
        all_of_them, "skipped"
    )
    refused = {call.why for call in hsm_pkcs11.calls if call.function == "C_OpenSession"}
    assert refused == {"ReadOnly cannot be created by Hsm1 provider: pass CKF_RW_SESSION"}
    assert counts(all_of_them) == told_by_the_page("under SDK 5's rule")


def counts(outcomes):
    return tuple(len(named(outcomes, kind)) for kind in ("passed", "failed", "skipped"))


def told_by_the_page(run):
    """Return how many pass, fail and are skipped, as docs/pkcs11.md says."""
    row = re.search(rf"^\| {re.escape(run)}[^|]*\| (\d+) \| (\d+) \| (\d+) \|", PAGE.read_text("utf-8"), re.MULTILINE)
    assert row, f"docs/pkcs11.md has no row for {run!r}"
    return tuple(int(number) for number in row.groups())


def test_the_page_has_every_reason():
    """Each reason of the tables stands in docs/pkcs11.md as it stands here."""
    page = PAGE.read_text("utf-8")
    reasons = [*upstream.FAILS, *upstream.FAILS_WITH_LONGER_RSA, *upstream.SKIPPED, upstream.SESSIONS_ARE_READ_WRITE]
    assert [why for why in reasons if why not in page] == []
