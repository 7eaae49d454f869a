"""How large may a sweep grow, with pairs of faults, and how is it divided among shards?"""

import json

import pytest

from pytest_hsmcluster.stage import Ran
from pytest_hsmcluster.sweeps import Broken, Sweeps
from tests.plugin.swept import BROKEN, CASES, CLONE, HOLDS, ROTATION, case, names, verdicts

# -- pairs ------------------------------------------------------------------------------

PAIRS = ROTATION.replace('op="generate_key"', 'op="generate_key", depth=2')


def test_pairs_strike_one_after_the_other(run):
    """With depth=2 a case that held gets each later point of its own run as a second fault; none that broke alone."""
    result = run(PAIRS, "-v")
    found = names(result)
    assert found[:7] == ["test_rotation", *(case("test_rotation", one) for one in CASES)]
    pairs = [name[len("test_rotation[") : -1].split(" + ") for name in found[7:-1]]
    assert pairs
    held = [one for one in CASES if one not in BROKEN]
    for first, second in pairs:
        assert first in held
        assert second not in BROKEN
        assert second != first
    assert len(pairs) == len({tuple(pair) for pair in pairs})
    total = 6 + len(pairs)
    text = result.stdout.str()
    assert f"test_it.py::test_rotation: 6 points, {total} cases, {len(pairs)} of them pairs, " in text
    failed = [name for name, word in verdicts(result) if word == "FAILED"]
    assert f"sweep: {len(failed) - 1} of {total} cases broke a promise" in text
    assert "fault that never fired" not in text


def test_no_pair_has_a_fault_that_breaks_a_promise_alone(run):
    """Neither first nor second, although it would come behind a fault that held."""
    effects = '"delay 1s", "destroy source", points="client.clone hsm.reply"'
    result = run(PAIRS.replace('"destroy source", points="client.clone hsm.commit"', effects), "-v")
    verdict = {name[len("test_rotation[") : -1]: word for name, word in verdicts(result)[1:-1]}
    late = "delay 1s @ hsm.reply op=generate_key command=generate_key hsm=hsm-1 nth=1"
    assert (verdict[late], verdict[CLONE.format(2)]) == ("PASSED", "FAILED")
    pairs = [label.split(" + ") for label in verdict if " + " in label]
    assert [late, CLONE.format(3)] in pairs
    assert all(verdict[one] == "PASSED" for pair in pairs for one in pair if one in verdict)


def test_no_pair_comes_after_a_case_that_broke_a_promise(run):
    """What fails alone is as small as it gets."""
    result = run(
        PAIRS.replace('"destroy source", points="client.clone hsm.commit"', '"destroy source", points="client.clone"'),
        "-v",
    )
    assert names(result) == [
        "test_rotation",
        case("test_rotation", CLONE.format(2)),
        case("test_rotation", CLONE.format(3)),
        "test_rotation",
    ]


def test_too_many_pairs_are_none(run):
    """Above the limit no pair is tried; the single faults were, and what they broke is told."""
    result = run(PAIRS, ini="hsm_sweep_limit = 6\n")
    text = result.stdout.str()
    assert "pairs and 6 single faults are above the limit of 6 (ini hsm_sweep_limit), and no pair was tried" in text
    assert "sweep: 2 of 6 cases broke a promise" in text
    assert "test_rotation: 6 points, 6 cases, 2 broke a promise" in text
    result.assert_outcomes(passed=5, failed=3)


# -- limits -----------------------------------------------------------------------------


def test_too_large_a_sweep_is_not_run_and_not_sampled(run):
    """Above the limit the test fails and says how many cases each point and operation would make."""
    result = run(ROTATION, ini="hsm_sweep_limit = 5\n")
    text = result.stdout.str()
    assert "sweep: 6 cases are above the limit of 5 (ini hsm_sweep_limit), and nothing was swept; narrow it:" in text
    assert "points='hsm.commit' about 4, points='client.clone' about 2" in text
    assert "op='generate_key' about 6" in text
    result.assert_outcomes(passed=1, failed=1)
    assert "test_rotation: 6 cases are above the limit of 5" in text
    run(ROTATION, ini="hsm_sweep_limit = 6\n").assert_outcomes(passed=5, failed=3)


# -- shards -----------------------------------------------------------------------------

SHARDS = ROTATION.replace('op="generate_key"', 'op="generate_key", shards=3')


@pytest.mark.parametrize("workers", [[], ["-p", "xdist", "-n", "2"]], ids=["serial", "xdist"])
def test_shards_share_the_cases_and_one_summary(run, workers):
    """Each shard runs clean and then every third case; the summary counts each case once."""
    result = run(SHARDS, "-v", *workers)
    found = names(result)
    for number in (1, 2, 3):
        shard = f"test_rotation[shard {number} of 3]"
        mine = [name for name in found if name.startswith(shard[:-1]) and name != shard]
        assert mine == [case(shard, one) for one in CASES[number - 1 :: 3]]
    text = result.stdout.str()
    assert "test_it.py::test_rotation: 6 points, 6 cases, 2 broke a promise" in text
    assert text.count("hsmcluster sweeps") == 1
    # 3 clean runs and 4 cases passed; 2 cases failed, and so did the two shards that they are in.
    result.assert_outcomes(passed=7, failed=4)
    assert text.count("sweep: 1 of 2 cases broke a promise") >= 2


def test_workers_numbers_add_up():
    """Points and cases are those of the whole sweep, in each shard; what was run and paired is each shard's own."""
    told = []
    for number in (1, 2):
        sweeps = Sweeps()
        sweeps.found("test_it", 6, 7)
        sweeps.paired("test_it", number)
        sweeps.ran("test_it", f"held {number}", Ran([], None))
        sweeps.broke("test_it", Broken(f"broke {number}", "why", "pytest"))
        told.append(json.loads(json.dumps(sweeps.export())))
    both = Sweeps()
    for one in told:
        both.add(one)
    swept = both.by_test["test_it"]
    assert (swept.points, swept.cases, swept.pairs, swept.run) == (6, 7, 3, 2)
    assert [one.label for one in swept.broken] == ["broke 1", "broke 2"]
    assert swept.held == ["held 1", "held 2"]
    assert str(swept).startswith("6 points, 2 of 10 cases, 3 of them pairs, 2 broke a promise")


def test_pairs_of_all_shards_are_summed_up(run):
    """Each shard makes the pairs of its own cases."""
    result = run(SHARDS.replace("shards=3", "shards=3, depth=2"), "-v")
    pairs = [name for name in names(result) if " + " in name]
    assert f": 6 points, {6 + len(pairs)} cases, {len(pairs)} of them pairs, " in result.stdout.str()


def test_collect_only_shows_shards_but_no_cases(run):
    """What pytest collects are tests and shards; cases are known when they run."""
    result = run(SHARDS + HOLDS, "--collect-only", "-q")
    assert [line for line in result.outlines if "::" in line] == [
        *(f"test_it.py::test_rotation[shard {number} of 3]" for number in (1, 2, 3)),
        "test_it.py::test_holds",
    ]
