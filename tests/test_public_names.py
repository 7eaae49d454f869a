"""What can be imported from the package, and what importing it costs."""

import ast
import pathlib
import subprocess
import sys

import pytest

import pytest_hsmcluster

CONTRACT = {
    "cluster": "HsmCluster Profile Backup Hsm HsmState HsmClock AuditEntry UserType",
    "clients": "Client AsyncClient KeyHandle KeyPair Pkcs11Door ToxiproxyServer",
    "chaos": "Chaos Hardship Injection Fault When Point Pass Delay Hold Drop Corrupt Fail Crash Destroy Pause FillDisk",
    "reading": "HsmCheck Finding History Event Kind Cause",
    "numbers": "CKA CKD CKF CKK CKM CKO CKR",
    "errors": (
        "ClusterError KeyNotOnHsm TooFewCopies KeyUnavailable HsmBusy HsmUnavailable RequestTimeout LoginFailed "
        "AccountLocked NotLoggedIn KeyAccessDenied KeyCapacityReached TemplateInvalid MechanismInvalid DataInvalid "
        "SignatureInvalid ApplicationDied UsageError ConfigError Stuck"
    ),
    "files": "Sdk3Config Sdk5Config ConfigWarning read_config write_config sdk3_config sdk5_config",
}


def python(code):
    """Run code in a new interpreter that can import the package, and return the words that it prints."""
    root = pathlib.Path(pytest_hsmcluster.__file__).parents[1]
    run = subprocess.run([sys.executable, "-c", code], cwd=root, check=True, capture_output=True, text=True)
    return run.stdout.split()


def test_all_is_sorted_and_has_no_doubles():
    """A list to read."""
    assert pytest_hsmcluster.__all__ == sorted(set(pytest_hsmcluster.__all__))


@pytest.mark.parametrize("name", " ".join(CONTRACT.values()).split())
def test_name_of_the_contract_is_public(name):
    """Documented names import from the package."""
    assert name in pytest_hsmcluster.__all__


@pytest.mark.parametrize("name", pytest_hsmcluster.__all__)
def test_every_public_name_imports(name):
    """Nothing in the list is missing, and dir() shows it."""
    assert getattr(pytest_hsmcluster, name) is not None
    assert name in dir(pytest_hsmcluster)


def test_unknown_name_is_an_attribute_error():
    """Like that of any module."""
    with pytest.raises(AttributeError, match="module 'pytest_hsmcluster' has no attribute 'HsmClutser'"):
        pytest_hsmcluster.HsmClutser  # noqa: B018


def test_importing_the_package_imports_nothing_else():
    """No cryptography, no pytest, none of our own modules: an installed plugin costs a run nothing."""
    loaded = python(
        "import sys; before = set(sys.modules); import pytest_hsmcluster;print(*sorted(set(sys.modules) - before))"
    )

    ours = [name for name in loaded if name.startswith("pytest_hsmcluster")]
    assert ours == ["pytest_hsmcluster"]
    assert not [name for name in loaded if name.partition(".")[0] in ("cryptography", "pytest", "faker", "asyncio")]


def test_errors_import_no_cryptography():
    """Catching an error needs no keys."""
    loaded = python("import sys; from pytest_hsmcluster import ClusterError, CKR, Fault, Profile; print(*sys.modules)")

    assert not [name for name in loaded if name.partition(".")[0] == "cryptography"]


def test_star_import_gives_everything():
    """`from pytest_hsmcluster import *` is what __all__ says."""
    names = python("from pytest_hsmcluster import *; print(*sorted(n for n in dir() if not n.startswith('__')))")

    assert names == pytest_hsmcluster.__all__


def test_type_checkers_see_what_runs():
    """The imports under TYPE_CHECKING name the same objects as the lazy table."""
    tree = ast.parse(pathlib.Path(pytest_hsmcluster.__file__).read_text(encoding="utf-8"))
    (block,) = [node for node in tree.body if isinstance(node, ast.If)]
    typed = {}
    for node in block.body:
        assert isinstance(node, ast.ImportFrom)
        for alias in node.names:
            assert alias.asname == alias.name, "a re-export says so"
            typed[alias.name] = node.module

    assert typed == pytest_hsmcluster._HOME_OF


def test_package_is_typed():
    """The marker file of PEP 561 is there."""
    assert pathlib.Path(pytest_hsmcluster.__file__).with_name("py.typed").exists()
