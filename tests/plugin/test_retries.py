"""Does a finding about a retry name the file and line of the application?"""

import pytest

VAULT = """import asyncio

import again
from pytest_hsmcluster import ClusterError

def sign(clock, client, key, *pauses):
    for pause in pauses:
        try:
            return client.sign(key, b"data")  # line of sign
        except ClusterError:
            clock.advance(pause)

def sign_by_library(clock, client, key, *pauses):
    return again.retrying(clock, pauses, client.sign, key, b"data")  # line of sign_by_library

async def sign_awaited(clock, client, key, *pauses):
    for pause in pauses:
        try:
            return await client.sign(key, b"data")  # line of sign_awaited
        except ClusterError:
            clock.advance(pause)

async def sign_in_time(clock, client, key, *pauses):
    for pause in pauses:
        try:
            return await asyncio.wait_for(client.sign(key, b"data"), 60)  # line of sign_in_time
        except ClusterError:
            clock.advance(pause)

def make(clock, client, key, *pauses):
    for pause in pauses:
        try:
            return client.generate_key("AES", 256, label="payroll")  # line of make
        except ClusterError:
            clock.advance(pause)

def keep(clock, client, key, *pauses):
    tmp = client.generate_key("AES", 256, label="tmp", token=False)
    client.logout()
    client.login("crypto_user", client.password)
    try:
        client.encrypt(tmp, b"data")  # line of keep
    except ClusterError:
        pass
"""

LINES = {text.split()[-1]: number for number, text in enumerate(VAULT.splitlines(), 1) if "# line of" in text}
"""Function → its line that calls the client."""

AGAIN = """
def retrying(clock, pauses, call, *arguments):
    for pause in pauses:
        try:
            return call(*arguments)
        except Exception:
            clock.advance(pause)
"""

TEST = """
import asyncio
import inspect
import pytest
import vault

@pytest.mark.hsm_cluster(sdk=3, seed=1)
def test_it(hsm_cluster, hsm_clock):
    awaited = inspect.iscoroutinefunction(vault.{function})
    client = hsm_cluster.async_client("app") if awaited else hsm_cluster.client("app")
    mac = hsm_cluster.client("setup").generate_key("GENERIC_SECRET", 256, label="mac")
    hsm_cluster.chaos.inject("fail 0xBB @ hsm.receive command=sign nth=1", may_miss=True)
    hsm_cluster.chaos.inject("fail 0xBB @ hsm.receive command=sign nth=2", may_miss=True)
    if vault.{function} is vault.make:
        hsm_cluster.chaos.inject("drop @ wire.response op=generate_key command=generate_key nth=1 client=app")
    client.password = hsm_cluster.default_password
    done = vault.{function}(hsm_clock, client, mac, *{pauses})
    if awaited:
        asyncio.run(done)
    print(hsm_cluster.check.retry_report())
    {check}
"""


@pytest.fixture
def audit(run, pytester):
    """Run one function of the application under a check, and return what was printed."""

    def audit(function, check, pauses=(0, 0, 0)):
        pytester.makepyfile(vault=VAULT)
        library = pytester.path / "site-packages"
        library.mkdir(exist_ok=True)
        library.joinpath("again.py").write_text(AGAIN, encoding="utf-8")
        pytester.syspathinsert(library)
        return run(TEST.format(function=function, check=f"hsm_cluster.check.{check}", pauses=pauses), "-s")

    return audit


@pytest.mark.parametrize("function", ["sign", "sign_by_library", "sign_awaited", "sign_in_time"])
def test_each_bound_names_the_line_of_the_application(audit, function):
    """Blocking, awaited, by a library that retries, and in a task for each attempt."""
    result = audit(function, "retries(max_attempts=2, max_elapsed=0.001)")
    result.assert_outcomes(failed=1)
    where = f"vault.py:{LINES[function]} ({function})"
    result.stdout.fnmatch_lines(
        [
            f"{where} * sign * 1  3 * 0 0 s * no * 1 of 1 *",
            f"*retry of sign 'mac' (key-1, handle 262144) by app since *: {where} tried 3 times, and at most 2 are *",
            f"*{where} went on for * s in 3 attempts, and at most 0.001 s are allowed*",
            f"*{where} did not back off: tried again at once twice after HsmBusy: *",
        ]
    )


@pytest.mark.parametrize("function", ["sign", "sign_by_library", "sign_awaited", "sign_in_time"])
def test_an_application_that_backs_off_passes(audit, function):
    """The same calls with pauses."""
    result = audit(function, "retries(max_attempts=3, max_elapsed=1)", (0.1, 0.2, 0.4))
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines([f"vault.py:* ({function}) *0.1 0.2 s*yes*1 of 1*"])


def test_a_blind_create_names_its_line(audit):
    result = audit("make", "retries()", (1, 1))
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [f"*vault.py:{LINES['make']} (make) made the key again after an unknown outcome (RequestTimeout) *"]
    )
    audit("make", "retries(blind_creates=True)", (1, 1)).assert_outcomes(passed=1)


def test_a_stale_handle_names_the_line_that_used_it(audit):
    result = audit("keep", "no_stale_handles()")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines([f"*stale handle of key 'tmp' *: encrypt at vault.py:{LINES['keep']} (keep)*"])


def test_the_checks_are_asked_for_by_name(run):
    """At the end of a test, with their defaults."""
    result = run(
        """
        import pytest
        from pytest_hsmcluster import HsmBusy

        @pytest.mark.hsm_cluster(sdk=3, checks=("retries", "no_stale_handles"))
        @pytest.mark.hsm_chaos("fail 0xBB @ hsm.receive command=random nth=1")
        def test_it(hsm_client):
            for _ in range(2):
                try:
                    hsm_client.random(8)
                except HsmBusy:
                    pass
        """
    )
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*retry of random by app since *: test_it.py:* (test_it) did not back off: *"])


def test_clusters_of_a_test_share_what_is_known_of_files(run):
    """A second cluster names lines too, from the same root."""
    run(
        """
        def test_it(hsm_cluster_factory):
            one, two = hsm_cluster_factory(), hsm_cluster_factory()
            for cluster in (one, two):
                client = cluster.client("app")
                client.random(8)
                lines = {chain.operation: str(chain.place) for chain in cluster.check.retry_report().chains}
                assert lines == {"login": "test_it.py:4 (test_it)", "random": "test_it.py:5 (test_it)"}
        """
    ).assert_outcomes(passed=1)
