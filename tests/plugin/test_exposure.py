"""Does a run sum up how long keys were on too few HSMs?"""

import pytest

STORY = """
import pytest

@pytest.mark.parametrize("number", range(4))
@pytest.mark.hsm_cluster(sdk=3, routing="pinned", pinned_to="hsm-1", checks=("exposure",))
def test_it(hsm_client, hsm_chaos, number):
    with hsm_chaos.install("fail-clone"):
        hsm_client.generate_key("AES", 256, label="kek")
    hsm_client.random(4)
"""


@pytest.mark.parametrize("arguments", [(), ("-p", "xdist", "-n", "2")], ids=["alone", "workers"])
def test_summary_has_percentiles_where_somebody_asked(run, arguments):
    """Over all tests, whatever worker ran them."""
    result = run(STORY, *arguments)
    result.assert_outcomes(passed=4)
    result.stdout.fnmatch_lines(["exposure of 4 keys: p50 0.00* s, p90 0.00* s, p99 0.00* s"])


def test_nothing_is_said_where_nobody_asked(run):
    result = run(STORY.replace('checks=("exposure",)', "checks=()"))
    assert "exposure" not in result.stdout.str()


def test_use_before_the_second_copy_fails_the_test(run):
    """By name the check allows none."""
    used = STORY.replace("hsm_client.random(4)", "hsm_client.encrypt(hsm_client.find_keys(label='kek')[0], b'data')")
    result = run(used)
    result.assert_outcomes(failed=4)
    result.stdout.fnmatch_lines(["exposed key 'kek' (key-1, handle 262144) on hsm-1 *used once meanwhile, by app *"])
