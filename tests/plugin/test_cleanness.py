"""Does a test leave anything behind, and does the plugin cost those who do not use it?"""

import sys

import pytest


def test_next_test_starts_clean(run):
    """Tests that die in a fault, in a hold, in a thread's error or by assertion leave the next one a new world."""
    run("""
        import threading
        import pytest
        from pytest_hsmcluster import ApplicationDied, HsmUnavailable, RequestTimeout

        threads = threading.active_count()

        @pytest.mark.parametrize("spec", [
            "crash @ client.report op=generate_key",
            "crash @ client.clone nth=1",
            "hold @ wire.request command=generate_key",
            "destroy here @ hsm.commit",
            "crash @ hsm.commit",
            "drop @ wire.response",
            "az-outage a",
            "partition a=app b=hsm-1",
        ])
        def test_dies(hsm_client, hsm_chaos, spec):
            with hsm_chaos.install(spec):
                hsm_client.generate_key("AES", 256, label="kek")
                hsm_client.generate_key("AES", 256, label="kek")
            raise KeyError

        def test_next(hsm_cluster, hsm_client, hsm_clock):
            assert threading.active_count() == threads
            assert [hsm.state for hsm in hsm_cluster.hsms] == ["up"] * 3
            assert hsm_clock.now < 0.1
            assert hsm_cluster.chaos.injections == hsm_cluster.chaos.hardships == []
            assert hsm_client.find_keys() == []
            assert len(hsm_cluster.history.of("invoke")) == 2
    """).assert_outcomes(passed=1, failed=8)


def test_no_cluster_outlives_its_test(run):
    """After a test, passed or failed, nothing holds its cluster any more."""
    run("""
        import gc
        import weakref
        import pytest

        refs = []

        @pytest.mark.hsm_cluster(hsms=1)
        @pytest.mark.parametrize("n", range(3))
        def test_it(hsm_cluster, hsm_client, n):
            refs.append(weakref.ref(hsm_cluster))
            hsm_client.generate_key("AES", 256, label="kek", token=False)

        def test_after():
            gc.collect()
            assert [ref() for ref in refs] == [None] * 3
    """).assert_outcomes(passed=4)


def test_no_temporary_file_stays(run, pytester, monkeypatch, tmp_path):
    """Nothing is written outside tmp_path, not even by tests that fail."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    run(
        """
        def test_it(hsm_client, hsm_config_file):
            hsm_client.generate_key("AES", 256, label="kek")
            hsm_config_file()
            raise KeyError
    """,
        "--basetemp=base",
        "-p",
        "no:cacheprovider",
    ).assert_outcomes(failed=1)
    assert list(tmp_path.iterdir()) == []
    written = sorted(path.name for path in (pytester.path / "base").rglob("*") if path.is_file())
    assert written == ["cloudhsm-pkcs11.cfg"]


HEAVY = ("cryptography", "faker", "hypothesis", "asyncio")
THIN = {"fixtures", "hookspecs", "keeping", "markers", "options", "plugin", "subjects"}


def test_plain_run_imports_nothing_heavy(pytester):
    """To the very end of a session without a cluster only the thin modules are loaded, and none that is heavy."""
    pytester.makeconftest("""
        import atexit
        import pathlib
        import sys

        atexit.register(lambda: pathlib.Path("modules").write_text("\\n".join(sys.modules)))
    """)
    pytester.makepyfile("""
        import unittest
        import pytest

        def test_plain(): pass

        @pytest.mark.skip
        class TestIt(unittest.TestCase):
            def test_it(self): pass

        @pytest.mark.parametrize("n", [1, pytest.param(2, marks=pytest.mark.xfail)])
        def test_case(n): assert n == 1
    """)
    result = pytester.runpytest_subprocess("-p", "hsmcluster", "-p", "no:cacheprovider")
    result.assert_outcomes(passed=2, skipped=1, xfailed=1)
    loaded = set((pytester.path / "modules").read_text().splitlines())
    ours = {name.removeprefix("pytest_hsmcluster.") for name in loaded if name.startswith("pytest_hsmcluster.")}
    assert ours == THIN
    assert not loaded & set(HEAVY)


def test_modules_have_no_state_of_a_run(run):
    """Two pytests in one process do not meet: what the inner one is told, the outer one does not hear."""
    from pytest_hsmcluster.options import SETTINGS

    run("def test_it(hsm_cluster): pass", "--hsm-seed=99", "--hsm-chaos=pass @ hsm.start").assert_outcomes(failed=1)
    plugin = sys.modules["pytest_hsmcluster.plugin"]
    state = [name for name, value in vars(plugin).items() if isinstance(value, list | dict | set) and name[:2] != "__"]
    assert state == []
    assert isinstance(SETTINGS, pytest.StashKey)


def test_a_cluster_without_the_pkcs11_library_loads_nothing_of_it(run):
    """No shared library, no server, no frames: what `HsmCluster` names of the door are two short modules."""
    run(
        """
        import sys

        def test_it(hsm_cluster, hsm_client):
            hsm_client.generate_key("AES", 256, label="kek")
            rooms = [name.partition(".")[2] for name in sys.modules if name.startswith("pytest_hsmcluster.")]
            door = sorted(name for name in rooms if name.startswith(("pkcs11.", "wire")))
            assert door == ["pkcs11.library_client", "pkcs11.token"]
            with open("/proc/self/maps") as maps:
                assert "libhsmcluster_pkcs11" not in maps.read()
        """,
        apart=True,
    ).assert_outcomes(passed=1)
