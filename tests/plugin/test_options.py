"""Do options, environment and ini reach the clusters, in the right order?"""

import pytest

SEED = """
    import pathlib

    def test_it(hsm_cluster):
        pathlib.Path("seed").write_text(str(hsm_cluster.seed))
"""


@pytest.fixture
def seed_of(run, pytester):
    """Run with arguments and return the seed of the one test's cluster."""

    def seed_of(*arguments: str, ini: str = "") -> str:
        run(SEED, *arguments, ini=ini).assert_outcomes(passed=1)
        return (pytester.path / "seed").read_text()

    return seed_of


def test_seed_order_is_command_line_environment_ini_default(seed_of, monkeypatch):
    """Each that is nearer to the user wins."""
    by_number = {number: seed_of(f"--hsm-seed={number}") for number in (0, 1, 2, 3)}
    assert len(set(by_number.values())) == 4
    assert seed_of() == by_number[0]
    assert seed_of(ini="hsm_seed = 3\n") == by_number[3]
    monkeypatch.setenv("HSM_SEED", "2")
    assert seed_of(ini="hsm_seed = 3\n") == by_number[2]
    assert seed_of("--hsm-seed=1", ini="hsm_seed = 3\n") == by_number[1]


def test_last_seed_is_read_from_the_cache(run, pytester, seed_of):
    """`last` is the seed of the last run that used a cluster; runs without one leave it alone."""
    first = seed_of("--hsm-seed=random")
    run("def test_plain(): pass", "--hsm-seed=77").assert_outcomes(passed=1)
    assert seed_of("--hsm-seed=last") == first
    assert seed_of("--hsm-seed=5") != first
    assert seed_of(ini="hsm_seed = last\n") == seed_of("--hsm-seed=5")


def test_random_seeds_differ_and_are_shown(run):
    """`random` draws another seed each time, which the header tells."""
    headers = [
        next(line for line in run(SEED, "--hsm-seed=random").outlines if line.startswith("hsmcluster: seed"))
        for _ in range(2)
    ]
    assert headers[0] != headers[1]
    assert headers[0].endswith("(--hsm-seed), virtual clock, SDK 5")


@pytest.mark.parametrize(
    "arguments, ini, said",
    [
        (["--hsm-seed=seven"], "", "--hsm-seed: 'seven' is no whole number, 'last' or 'random'"),
        (["--hsm-seed=rnadom"], "", "(did you mean 'random'?)"),
        (["--hsm-seed=last"], "", "--hsm-seed: 'last' is not known: no run with a cluster has left its seed"),
        (["--hsm-seed=last", "-p", "no:cacheprovider"], "", "pytest's cache, which is off (-p no:cacheprovider)"),
        ([], "hsm_seed = x\n", "hsm_seed: 'x' is no whole number"),
        (["--hsm-clock=vritual"], "", "--hsm-clock: 'vritual' is none of virtual, real (did you mean 'virtual'?)"),
        ([], "hsm_clock = rael\n", "hsm_clock: 'rael' is none of virtual, real (did you mean 'real'?)"),
        (["--hsm-timeline=alway"], "", "--hsm-timeline: 'alway' is none of on-failure, always, never"),
        ([], "hsm_timeline = no\n", "hsm_timeline: 'no' is none of"),
        (["--hsm-list=point"], "", "--hsm-list: 'point' is none of points, effects, scenarios, checks"),
        ([], "hsm_hsms = many\n", "ini hsm_hsms"),
        ([], "hsm_hsms = 29\n", "hsms is a number from 1 to 28 (AWS CloudHSM quota: HSMs per cluster); got 29"),
        ([], "hsm_sdk = 4\n", "sdk is one of 3, 5; got 4"),
        ([], "hsm_keys = none\n", "keys is 'random' or 'seeded'; got 'none'"),
        ([], "hsm_checks = durabel\n", "unknown check 'durabel' (did you mean 'durable'?)"),
        (["--hsm-chaos=crash @ hsm.comit"], "", "unknown point 'hsm.comit' (did you mean 'hsm.commit'?)"),
        (["--hsm-chaos=stal-sync", "--hsm-chaos=lost-ack"], "", "lost-ack needs op="),
    ],
)
def test_bad_values_are_usage_errors(run, arguments, ini, said):
    """A wrong option or ini value ends the run before anything is collected."""
    result = run("raise SystemError('collected')", *arguments, ini=ini)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert said in result.stderr.str()
    assert "collected" not in result.stdout.str()


def test_bad_seed_of_the_environment_is_named(run, monkeypatch):
    """The variable is named when it is the one that is wrong."""
    monkeypatch.setenv("HSM_SEED", "x")
    result = run(SEED)
    assert "HSM_SEED: 'x' is no whole number" in result.stderr.str()


def test_ini_values_are_defaults_of_the_marker(run):
    """hsm_hsms, hsm_sdk and hsm_keys hold where the marker says nothing else."""
    run(
        """
        import pytest

        def test_defaults(hsm_cluster):
            assert (len(hsm_cluster.hsms), hsm_cluster.profile.sdk) == (2, 3)
            hsm_cluster.client().generate_key("AES", 256, label="kek")

        @pytest.mark.hsm_cluster(hsms=4, sdk=5, keys="random")
        def test_marker(hsm_cluster):
            assert (len(hsm_cluster.hsms), hsm_cluster.profile.sdk) == (4, 5)
    """,
        ini="hsm_hsms = 2\nhsm_sdk = 3\nhsm_keys = seeded\n",
    ).assert_outcomes(passed=2)


@pytest.mark.skipif(pytest.version_tuple < (9, 0), reason="native TOML came with pytest 9")
def test_native_toml_settings_have_types(pytester):
    """In `[tool.pytest]` numbers are numbers, the seed is a string, and checks are a list."""
    pytester.makepyprojecttoml("""
        [tool.pytest]
        hsm_seed = "7"
        hsm_hsms = 2
        hsm_sdk = 3
        hsm_checks = ["durable"]
        hsm_keys = "seeded"
        hsm_clock = "virtual"
        hsm_timeline = "never"
        strict = true
    """)
    pytester.makepyfile("def test_it(hsm_cluster): assert len(hsm_cluster.hsms) == 2")
    result = pytester.runpytest_inprocess("-p", "hsmcluster")
    result.assert_outcomes(passed=1)
    assert "hsmcluster: seed 7 (hsm_seed), virtual clock, SDK 3" in result.outlines


def test_keys_are_reproducible_when_seeded(run):
    """`hsm_keys = seeded` gives the same ciphertext for the same seed."""
    source = """
        def test_it(hsm_client):
            key = hsm_client.generate_key("AES", 256, label="kek")
            print("BOX", hsm_client.encrypt(key, b"data").hex())
    """
    boxes = [
        next(line for line in run(source, "-s", ini=ini).outlines if "BOX" in line)
        for ini in ("hsm_keys = seeded\n", "hsm_keys = seeded\n", "")
    ]
    assert boxes[0] == boxes[1] != boxes[2]


def test_clock_option_holds_where_the_marker_says_nothing(run):
    """`--hsm-clock=real` ties tests to the wall clock, except those whose marker says virtual."""
    run(
        """
        import pytest

        def test_default(hsm_clock):
            assert hsm_clock.real

        @pytest.mark.hsm_cluster(clock="virtual")
        def test_virtual(hsm_clock):
            assert not hsm_clock.real

        @pytest.mark.hsm_cluster(clock_rate=1000)
        def test_fast(hsm_clock):
            hsm_clock.advance(1)
    """,
        "--hsm-clock=real",
    ).assert_outcomes(passed=3)


def test_chaos_option_comes_last_in_every_test_with_a_cluster(run):
    """Each selected test with a cluster gets all specs, behind its marker's."""
    run(
        """
        import pytest

        @pytest.mark.hsm_chaos("pass @ hsm.receive")
        def test_marked(hsm_client, hsm_chaos):
            hsm_client.generate_key("AES", 256, label="kek")
            assert [str(one) for one in hsm_chaos.injections] == [
                "pass @ hsm.receive", "pass @ hsm.commit command=generate_key", "pass @ hsm.execute"]

        def test_factory(hsm_cluster_factory):
            one = hsm_cluster_factory()
            one.client().generate_key("AES", 256, label="kek")
            assert len(one.chaos.injections) == 2

        def test_plain():
            pass
    """,
        "--hsm-chaos=pass @ hsm.commit command=generate_key",
        "--hsm-chaos=pass @ hsm.execute",
    ).assert_outcomes(passed=3)


@pytest.mark.parametrize(
    "what, first, last",
    [
        ("points", "client.route ", "hsm.restore "),
        ("effects", "pass ", "fill-disk "),
        ("scenarios", "kill-mid-create ", "link-down "),
        ("checks", "durable ", "linearizable "),
    ],
)
def test_catalogues_are_printed_instead_of_a_run(run, what, first, last):
    """`--hsm-list` prints one line for each name, and runs nothing."""
    result = run("raise SystemError", f"--hsm-list={what}")
    assert result.ret == 0
    assert result.outlines[0].startswith(first)
    assert result.outlines[-1].startswith(last)


def test_header_appears_only_when_something_is_configured(run, monkeypatch):
    """An unconfigured run has no line of ours above it."""
    assert not any(line.startswith("hsmcluster:") for line in run(SEED).outlines)
    chaos = run(SEED, "--hsm-chaos=pass @ hsm.receive", ini="hsm_sdk = 3\n")
    assert "hsmcluster: seed 0 (default), virtual clock, SDK 3, chaos 'pass @ hsm.receive'" in chaos.outlines
    monkeypatch.setenv("HSM_SEED", "4")
    assert "hsmcluster: seed 4 (HSM_SEED), virtual clock, SDK 5" in run(SEED).outlines


def test_help_explains_every_option_and_ini(run):
    """`pytest --help` is the documentation of options and ini values."""
    text = run("", "--help").stdout.str()
    for name in ("--hsm-seed", "--hsm-chaos", "--hsm-clock", "--hsm-timeline", "--hsm-list"):
        assert f"  {name}=" in text
    for name in ("seed", "clock", "timeline", "hsms", "sdk", "checks", "keys"):
        assert f"  hsm_{name} (" in text
