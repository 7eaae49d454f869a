"""Does the plugin live well with pytest's modes and with other plugins?"""

import pathlib

import pytest

STORIES = """
    import pathlib
    import pytest

    def note(request, cluster):
        folder = pathlib.Path("digests")
        folder.mkdir(exist_ok=True)
        name = request.node.name.partition("@")[0]
        (folder / name).write_text(f"{cluster.seed} {cluster.history.digest()}")

    def work(cluster):
        client = cluster.client()
        for number in range(5):
            client.generate_key("AES", 256, label=f"key {number}")
        cluster.clock.advance(100)

    @pytest.mark.xdist_group("one")
    @pytest.mark.hsm_cluster(sdk=3, routing="random")
    @pytest.mark.hsm_chaos("drop @ client.clone chance=0.5")
    def test_function(request, hsm_cluster):
        work(hsm_cluster)
        note(request, hsm_cluster)

    @pytest.mark.xdist_group("two")
    @pytest.mark.parametrize("hsms", [1, 2, 3])
    def test_case(request, hsm_cluster_factory, hsms):
        cluster = hsm_cluster_factory(hsms=hsms, routing="random", availability_check=False)
        work(cluster)
        note(request, cluster)

    class TestClass:
        @pytest.mark.hsm_cluster(routing="random")
        def test_method(self, request, hsm_cluster):
            work(hsm_cluster)
            note(request, hsm_cluster)

    @pytest.mark.hsm_cluster(sdk=3)
    @pytest.mark.hsm_chaos("kill-mid-create")
    def test_fails(hsm_client):
        hsm_client.generate_key("AES", 256, label="payroll")
"""


def digests(pytester: pytest.Pytester) -> dict[str, str]:
    """Return the notes of the last run and forget them."""
    found = {}
    for path in sorted((pytester.path / "digests").iterdir()):
        found[path.name] = path.read_text()
        path.unlink()
    assert len(found) == 5
    return found


@pytest.fixture
def serial(run, pytester) -> dict[str, str]:
    """The notes of a run on one process."""
    run(STORIES).assert_outcomes(passed=5, failed=1)
    return digests(pytester)


@pytest.mark.parametrize("dist", ["load", "loadscope", "loadfile", "loadgroup", "worksteal", "each", "no"])
def test_workers_change_nothing(run, pytester, serial, dist):
    """Under every --dist seeds and journals are those of one process, and one summary adds them up."""
    result = run(STORIES, "-p", "xdist", "-n", "2", f"--dist={dist}")
    times = 2 if dist == "each" else 1
    result.assert_outcomes(passed=5 * times, failed=times)
    assert digests(pytester) == serial
    text = result.stdout.str()
    used = f"{6 * times} tests used {6 * times} clusters (SDK 3 and 5, virtual clock); "
    assert text.count(used) == 1
    assert "pytest test_it.py::test_fails --hsm-seed=0" in text
    assert "here a finding begins: key-1" in text


def test_workers_get_the_seed_of_the_controller(run, pytester):
    """A random seed is drawn once; all workers have it, and `last` finds it."""
    result = run(STORIES, "-p", "xdist", "-n", "2", "--hsm-seed=random")
    header = next(line for line in result.outlines if line.startswith("hsmcluster: seed "))
    drawn = digests(pytester)
    run(STORIES, f"--hsm-seed={header.split()[2]}")
    assert digests(pytester) == drawn
    run(STORIES, "--hsm-seed=last")
    assert digests(pytester) == drawn


@pytest.mark.parametrize(
    "arguments",
    [
        ["-p", "randomly", "-p", "no:cacheprovider"],
        ["--import-mode=importlib"],
        ["--import-mode=append"],
        ["-p", "no:cacheprovider"],
        ["-p", "no:terminal"],
        ["-W", "error"],
        ["--strict-markers", "--strict-config"],
        ["-p", "no:xdist"],
        ["-p", "timeout", "--timeout=60"],
        ["--tb=native"],
        ["-l", "--full-trace"],
    ],
    ids=" ".join,
)
def test_modes_change_nothing(run, pytester, serial, arguments):
    """Order, import mode, missing plugins and strictness leave every journal as it is."""
    result = run(STORIES, *arguments)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    if arguments[-1] != "no:terminal":
        result.assert_outcomes(passed=5, failed=1)
    assert digests(pytester) == serial


def test_one_test_alone_has_the_seed_that_it_has_among_others(run, pytester, serial):
    """A selection of tests changes no seed; --lf runs what failed."""
    run(STORIES, "-k", "test_method")
    assert (pytester.path / "digests" / "test_method").read_text() == serial["test_method"]
    run(STORIES, "--lf").assert_outcomes(failed=1)
    run(STORIES, "-x").assert_outcomes(passed=5, failed=1)


@pytest.mark.skipif(pytest.version_tuple < (9, 0), reason="strict mode came with pytest 9")
def test_strict_mode(run, pytester, serial):
    """pytest 9's strict mode finds nothing to say."""
    run(STORIES, ini="strict = true\n").assert_outcomes(passed=5, failed=1)
    assert digests(pytester) == serial


def test_reruns_have_the_seed_of_the_test(run, pytester):
    """pytest-rerunfailures repeats with the same seed and a new cluster; sections are those of the last run."""
    result = run(
        """
        import pathlib

        def test_it(hsm_cluster):
            with pathlib.Path("notes").open("a") as notes:
                hsm_cluster.client().generate_key("AES", 256, label="kek")
                notes.write(f"{hsm_cluster.seed} {hsm_cluster.history.digest()}\\n")
            raise KeyError
    """,
        *("-p", "rerunfailures", "--reruns=2"),
    )
    assert result.parseoutcomes()["rerun"] == 2
    notes = (pytester.path / "notes").read_text().splitlines()
    assert len(notes) == 3
    assert len(set(notes)) == 1
    assert result.stdout.str().count(" HSM replay ") == 1


ASYNC = """
    import pytest

    {mark}
    async def test_awaited(hsm_async_client, hsm_check):
        key = await hsm_async_client.generate_key("AES", 256, label="kek")
        assert await hsm_async_client.encrypt(key, b"data")

    {mark}
    @pytest.mark.hsm_cluster(sdk=3)
    @pytest.mark.hsm_chaos("kill-mid-create")
    async def test_lost(hsm_async_client):
        await hsm_async_client.generate_key("AES", 256, label="payroll")

    {mark}
    @pytest.mark.xfail(strict=True, raises=AssertionError)
    @pytest.mark.hsm_cluster(sdk=3)
    @pytest.mark.hsm_chaos("kill-mid-create")
    async def test_known(hsm_async_client):
        await hsm_async_client.generate_key("AES", 256, label="payroll")
"""


@pytest.mark.parametrize(
    "mark, plugin, ini, backends",
    [
        (
            "@pytest.mark.asyncio",
            "pytest_asyncio.plugin",
            "asyncio_mode = strict\nasyncio_default_fixture_loop_scope = function\n",
            1,
        ),
        ("", "pytest_asyncio.plugin", "asyncio_mode = auto\nasyncio_default_fixture_loop_scope = function\n", 1),
        ("@pytest.mark.anyio", "anyio", "", 1),
    ],
    ids=["asyncio-strict", "asyncio-auto", "anyio"],
)
def test_async_tests_are_judged(run, mark, plugin, ini, backends):
    """pytest-asyncio and anyio share the fixture; the end-of-test checks apply to coroutines too."""
    backend = (
        'import pytest\n\n@pytest.fixture\ndef anyio_backend():\n    return "asyncio"\n' if plugin == "anyio" else ""
    )
    result = run(ASYNC.format(mark=mark), "-p", plugin, ini=ini, conftest=backend, apart=True)
    result.assert_outcomes(passed=backends, failed=backends, xfailed=backends)
    assert "lost key 'payroll'" in result.stdout.str()


def test_subtests_are_judged(run):
    """A test with subtests ends as any other."""
    if pytest.version_tuple < (9, 0):
        pytest.skip("subtests came with pytest 9")
    result = run("""
        import pytest

        @pytest.mark.hsm_cluster(sdk=3)
        @pytest.mark.hsm_chaos("kill-mid-create")
        def test_it(subtests, hsm_client):
            for number in range(2):
                with subtests.test(number=number):
                    hsm_client.generate_key("AES", 256, label=f"payroll {number}")
    """)
    text = result.stdout.str()
    assert "lost key 'payroll 0'" in text
    assert result.parseoutcomes()["failed"] == 1


def test_entry_point_is_loaded_and_switched_off_by_its_name(pytester, monkeypatch):
    """Installed it is there without a word; `-p no:hsmcluster` takes it away, marker, fixtures, options and all."""
    pytester.makepyfile("def test_it(hsm_cluster): pass")
    pytester.runpytest_inprocess("-p", "hsmcluster").assert_outcomes(passed=1)
    without = pytester.runpytest_inprocess()
    assert "fixture 'hsm_cluster' not found" in without.stdout.str()
    if pytest.version_tuple >= (8, 4):
        pytester.runpytest_inprocess("--disable-plugin-autoload", "-p", "hsmcluster").assert_outcomes(passed=1)
    monkeypatch.delenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD")
    others = ("randomly", "hypothesispytest", "asyncio", "anyio", "faker", "looptime_plugin")
    plain = [word for name in others for word in ("-p", f"no:{name}")]
    pytester.runpytest_inprocess(*plain).assert_outcomes(passed=1)
    switched_off = pytester.runpytest_inprocess(*plain, "-p", "no:hsmcluster")
    assert "fixture 'hsm_cluster' not found" in switched_off.stdout.str()


def test_group_of_xdist_is_no_part_of_the_identity(pytester, monkeypatch):
    """Under --dist=loadgroup some versions append `@group` to node ids; the seed does not see it."""
    from pytest_hsmcluster.identities import identity

    pytester.makeini("[pytest]\nmarkers = xdist_group\n")
    item = pytester.getitem(
        "import pytest\n@pytest.mark.xdist_group('a')\n@pytest.mark.xdist_group(name='b')\ndef test_func(): pass\n"
    )
    before = identity(item)
    assert before.endswith("::test_func")
    # A class of its own: the outer run's items are of the same type, and their node ids are not ours to change.
    grouped = type("Grouped", (type(item),), {"nodeid": property(lambda self: f"{before}@a_b")})
    monkeypatch.setattr(item, "__class__", grouped)
    monkeypatch.setattr(item.config.option, "loadgroup", True, raising=False)
    assert identity(item) == before


def test_mail_address_in_a_parameter_stays_in_the_identity(pytester, monkeypatch):
    """Only the suffix that xdist made is taken off."""
    from pytest_hsmcluster.identities import identity

    pytester.makeini("[pytest]\nmarkers = xdist_group\n")
    item = pytester.getitem(
        "import pytest\n@pytest.mark.parametrize('to', ['a@one'])\n@pytest.mark.xdist_group('two')\n"
        "def test_func(to): pass\n",
        "test_func[a@one]",
    )
    monkeypatch.setattr(item.config.option, "loadgroup", True, raising=False)
    assert identity(item).endswith("::test_func[a@one]")


def test_hash_seed_changes_nothing(run, pytester, serial, monkeypatch):
    """Journals do not depend on PYTHONHASHSEED."""
    for seed in ("1", "2"):
        monkeypatch.setenv("PYTHONHASHSEED", seed)
        pytester.runpytest_subprocess("-p", "hsmcluster", "-p", "xdist")
        assert digests(pytester) == serial


def test_no_cache_is_written_by_runs_without_a_cluster(run, pytester):
    """A run that does not use us leaves no trace of us in the cache."""
    run("def test_it(): pass")
    assert not (pathlib.Path(pytester.path) / ".pytest_cache" / "v" / "hsmcluster").exists()
