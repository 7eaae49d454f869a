"""Are made-up values accepted by the cluster, and the same for the same seed?"""

import re

import pytest

from pytest_hsmcluster import UsageError


def test_names_and_pins_are_accepted(hsm_faker, hsm_cluster):
    """A hundred made-up users can be created and log in."""
    for _ in range(100):
        name, pin = hsm_faker.unique.hsm_user_name(), hsm_faker.hsm_pin()
        assert re.fullmatch(r"[A-Za-z0-9_]{1,31}", name)
        assert 8 <= len(pin) <= 32
        assert ":" not in pin
        hsm_cluster.create_user(name, pin)
        hsm_cluster.client(login=False).login(name, pin)


def test_labels_are_accepted(hsm_faker, hsm_client):
    """A made-up label finds its key again."""
    for label in [hsm_faker.hsm_key_label() for _ in range(5)]:
        key = hsm_client.generate_key("AES", 256, label=label)
        assert key in hsm_client.find_keys(label=label)


def test_payloads_keep_their_limit_and_reach_it(hsm_faker):
    """Payloads have up to `max_bytes` bytes; none and all of them come up often."""
    sizes = {len(hsm_faker.hsm_payload(max_bytes=64)) for _ in range(300)}
    assert {0, 1, 15, 16, 17, 64} <= sizes <= set(range(65))
    assert hsm_faker.hsm_payload(max_bytes=0) == b""


@pytest.mark.parametrize("wrong", [-1, True, "10", 1.5])
def test_wrong_limit_is_refused(hsm_faker, wrong):
    """A limit that is no size is refused with its value."""
    with pytest.raises(UsageError, match="max_bytes is a whole number"):
        hsm_faker.hsm_payload(max_bytes=wrong)


def test_values_follow_the_seed_of_the_test(run):
    """The same seed gives the same values, another one others; no cluster is needed for that."""
    source = """
        def test_values(hsm_faker):
            print(hsm_faker.hsm_key_label(), hsm_faker.hsm_user_name(), hsm_faker.hsm_pin(), hsm_faker.hsm_payload())
    """
    outputs = [
        next(line for line in run(source, "-s", f"--hsm-seed={seed}").outlines if " b'" in line or ' b"' in line)
        for seed in (1, 1, 2)
    ]
    assert outputs[0] == outputs[1] != outputs[2]


def test_global_generators_are_left_alone(run):
    """Neither `random` nor Faker's shared generator is seeded by us."""
    result = run("""
        import random
        from faker.generator import random as shared

        def test_first(hsm_faker, hsm_client):
            before = random.getstate(), shared.getstate()
            hsm_faker.hsm_payload(), hsm_client.generate_key("AES", 256, label="kek")
            assert before == (random.getstate(), shared.getstate())
    """)
    result.assert_outcomes(passed=1)
