"""Do sweeps, background chaos, coverage, mutants, simulated time and actors work through python-pkcs11?

The application knows nothing but the library.  Its own lines are the call sites, not those of python-pkcs11.
"""

import json
import re

import pytest

pytest.importorskip("pkcs11", reason="needs python-pkcs11: pip install python-pkcs11")

VAULT = '''
import time
import pkcs11
from pkcs11 import Attribute, KeyType, Mechanism

class Vault:
    """An application with python-pkcs11."""

    def __init__(self, module, token_label, pin, patience=0, pause=0.0):
        self.token = pkcs11.lib(module).get_token(token_label=token_label)
        self.pin, self.patience, self.pause = pin, patience, pause
        self.session = self.token.open(rw=True, user_pin=pin)

    def make(self, label="kek"):
        return self.session.generate_key(KeyType.AES, 256, label=label, store=True)

    def sign(self, key, data=b"data"):
        return key.sign(data, mechanism=Mechanism.AES_CMAC)

    def sign_patiently(self, key, data=b"data"):
        for attempt in range(self.patience, -1, -1):
            try:
                return key.sign(data, mechanism=Mechanism.AES_CMAC)
            except pkcs11.PKCS11Error:
                if not attempt:
                    raise
                time.sleep(self.pause)

    def labelled(self, label="kek"):
        return list(self.session.get_objects({Attribute.LABEL: label}))
'''

BEGIN = """
import pytest
from vault import Vault

@pytest.fixture
def vault(hsm_pkcs11):
    return Vault(hsm_pkcs11.module, hsm_pkcs11.token_label, hsm_pkcs11.user_pin, patience=8, pause=1.0)
"""


@pytest.fixture
def run(pytester, monkeypatch):
    """Run a suite of the vault in a process of its own, and return the result."""
    monkeypatch.setenv("COLUMNS", "160")
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")

    def run(source, *arguments):
        pytester.makeini("[pytest]\nfilterwarnings = error\n")
        pytester.makepyfile(vault=VAULT)
        pytester.makepyfile(test_it=BEGIN + source)
        return pytester.runpytest_subprocess("-p", "hsmcluster", *arguments)

    return run


def line_of(text, function):
    """Return the line of the vault that calls in a function."""
    lines = VAULT.strip().splitlines()
    begin = next(number for number, line in enumerate(lines) if f"def {function}(" in line)
    return next(number + 1 for number in range(begin, len(lines)) if text in lines[number])


def test_a_sweep_goes_through_the_library(run):
    """One fault at each step of a call: the naive application breaks, the patient one does not."""
    result = run(
        """
@pytest.mark.hsm_sweep("fail CKR_GENERAL_ERROR", points="hsm.receive hsm.execute", op="sign")
def test_naive(vault):
    assert len(vault.sign(vault.make())) == 16

@pytest.mark.hsm_sweep("fail CKR_GENERAL_ERROR", points="hsm.receive hsm.execute", op="sign")
def test_patient(vault):
    assert len(vault.sign_patiently(vault.make())) == 16
""",
    )
    text = result.stdout.str()
    assert re.search(r"FAILED test_it.py::test_naive\[.*hsm.execute", text), text
    assert not re.search(r"FAILED test_it.py::test_patient", text), text


def test_background_chaos_comes_through_the_library(run):
    """A suite that knows nothing of it: the naive test fails, with a command that repeats it."""
    result = run(
        """
@pytest.mark.parametrize("number", range(8))
def test_naive(vault, number):
    key = vault.make()
    for _ in range(20):
        vault.sign(key)

def test_patient(vault):
    key = vault.make()
    for _ in range(20):
        vault.sign_patiently(key)
""",
        "--hsm-background=heavy",
        "--hsm-seed=3",
    )
    result.stdout.fnmatch_lines(["*FAILED test_it.py::test_naive*"])
    assert "--hsm-chaos=" in result.stdout.str() or "--hsm-background" in result.stdout.str()


def test_coverage_names_the_applications_lines(run, pytester):
    """Call sites are the vault's, also through python-pkcs11's frames."""
    result = run(
        """
@pytest.mark.hsm_chaos("fail CKR_GENERAL_ERROR @ hsm.execute op=sign nth=1")
def test_patience(vault):
    vault.sign_patiently(vault.make())
""",
        "--hsm-coverage",
        "--hsm-coverage-json=coverage.json",
    )
    result.assert_outcomes(passed=1)
    told = json.loads((pytester.path / "coverage.json").read_text(encoding="utf-8"))
    sites = {f"{site['function']} {site['operation']}": site for site in told["sites"]}
    assert sites["Vault.sign_patiently sign"]["modes"]["single-error"] == "survived"
    assert "Vault.make generate_key" in sites
    assert not any("pkcs11" in str(site) for site in sites), list(sites)


def test_mutants_are_seen_through_the_library(run):
    """A wrong cluster is noticed by what the application is told."""
    result = run(
        """
def test_delete(vault):
    vault.make().destroy()
    assert vault.labelled() == []

def test_make(vault):
    vault.sign(vault.make())
    assert len(vault.labelled()) == 1
""",
        "--hsm-mutants",
    )
    result.stdout.re_match_lines([r"doubled-creates +killed by test_it.py::test_delete"])


def test_the_application_lives_in_simulated_time(run):
    """It sleeps between its attempts, and a crashed HSM comes back meanwhile; nobody really waits."""
    result = run(
        """
import time

@pytest.mark.hsm_cluster(hsms=1, availability_check=False)
def test_patience(vault, hsm_app_time, hsm_chaos, hsm_cluster):
    key = vault.make()
    for hsm in hsm_cluster.hsms:
        hsm_chaos.throttle(hsm.id)
    begun = time.monotonic()
    with pytest.raises(Exception):
        vault.sign_patiently(key)
    assert time.monotonic() - begun > 8
    assert hsm_cluster.clock.now > 8
""",
    )
    result.assert_outcomes(passed=1)


def test_actors_use_the_library_in_turns(run):
    """`cluster.run`: two functions of one application, each with its own session; the order is drawn from the seed."""
    result = run(
        """
def test_two(vault, hsm_pkcs11, hsm_cluster):
    def work(label):
        session = vault.token.open(rw=True)
        key = session.generate_key(KeyType.AES, 256, label=label, store=True)
        return len(key.sign(b"data", mechanism=Mechanism.AES_CMAC))

    assert hsm_cluster.run(lambda: work("a"), lambda: work("b")) == [16, 16]
    assert hsm_cluster.handovers
    assert hsm_cluster.history.digest()
    assert len(vault.labelled("a") + vault.labelled("b")) == 2
from pkcs11 import KeyType, Mechanism
""",
    )
    result.assert_outcomes(passed=1)


def test_retries_are_the_applications(run):
    """`retries()` counts what the vault tries, and names its line."""
    result = run(
        """
@pytest.mark.hsm_chaos("fail CKR_GENERAL_ERROR @ hsm.execute op=sign")
def test_impatient(vault, hsm_check):
    with pytest.raises(Exception):
        vault.sign_patiently(vault.make())
    hsm_check.retries(max_attempts=3)
""",
    )
    result.assert_outcomes(failed=1)
    line = line_of("key.sign(", "sign_patiently")
    result.stdout.fnmatch_lines([f"*vault.py:{line}*"])


DETERMINISTIC = """
import gc
import os
import random

@pytest.mark.parametrize("keys", [pytest.param("seeded", marks=pytest.mark.hsm_cluster(keys="seeded"))])
def test_story(vault, hsm_pkcs11, hsm_cluster, hsm_chaos, keys):
    dice = random.Random(os.environ["COLLECT"])
    labels = {f"label-{number}" for number in range(4)}
    made, dropped = {}, []
    for label in sorted(labels):
        made[label] = vault.make(label)
        dropped += [vault.token.open(rw=True) for _ in range(3)]
        for _ in range(dice.randrange(4)):
            if dropped and dice.random() < 0.7:
                dropped.pop(dice.randrange(len(dropped)))
            gc.collect() if dice.random() < 0.5 else None
        with hsm_chaos.inject("drop @ wire.response command=sign chance=0.3", may_miss=True):
            for _ in range(4):
                vault.sign_patiently(made[label])
        found = vault.session.get_objects({})
        next(iter(found))
        del found
        if dice.random() < 0.5:
            gc.collect()
        vault.sign_patiently(made[label])
    dropped.clear()
    print("digest", hsm_cluster.history.digest())
"""


def test_a_story_is_the_same_in_every_process(run, monkeypatch):
    """Under any hash seed, and wherever garbage collection closes sessions and searches."""
    told = set()
    for seed, collect in (("0", "1"), ("random", "2"), ("4711", "3")):
        monkeypatch.setenv("PYTHONHASHSEED", seed)
        monkeypatch.setenv("COLLECT", collect)
        result = run(DETERMINISTIC, "-s", "--hsm-seed=5")
        result.assert_outcomes(passed=1)
        told.update(re.findall(r"digest (\w+)", result.stdout.str()))
    assert len(told) == 1, told
