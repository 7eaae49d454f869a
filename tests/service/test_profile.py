"""The numbers and switches of the service."""

import dataclasses
import inspect

import pytest

from pytest_hsmcluster import HsmCluster, Profile, UsageError
from pytest_hsmcluster.service.profile import field_names, unknown_field

PUBLISHED = {
    "clone_ns": 80_000_000,
    "reconnect_interval_ns": 3_000_000_000,
    "backup_period_ns": 86_400_000_000_000,
    "key_capacity": 3300,
    "user_capacity": 1024,
    "sessions_per_hsm": 2048,
    "connections_per_cluster": 900,
    "lockout_after": 5,
    "max_generic_bytes": 800,
    "availability_copies": 2,
    "retry_attempts": 3,
}
MEASURED = {
    "join_snapshot_ns": (34_000_000_000, 65_000_000_000),
    "join_active_ns": (313_000_000_000, 313_000_000_000),
    "availability_budget_ns": (87_160_000_000, 87_240_000_000),
}

SOURCES = ("UG", "PIX", "guess", "ame source", "(same)", "SDK 3 file", "no limit")


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_numbers_are_copied_exactly(name):
    """What AWS writes down stands in the profile as it is written."""
    assert getattr(Profile(), name) == PUBLISHED[name]


@pytest.mark.parametrize("name", MEASURED)
def test_measured_numbers_lie_in_what_was_measured(name):
    """What only a field report says lies within its spread."""
    least, most = MEASURED[name]

    assert least <= getattr(Profile(), name) <= most


def test_signature_takes_as_long_as_it_was_measured():
    """A round trip and the work in between: 1.9 to 2.2 ms."""
    profile = Profile()

    assert 1_900_000 <= 2 * profile.wire_ns + profile.execute_ns <= 2_200_000


def test_sdk_3_takes_shorter_generic_secrets():
    """64 bytes under SDK 3, 800 under SDK 5."""
    with HsmCluster(1, sdk=3) as cluster:
        assert cluster.profile.max_generic_bytes == 64
    with HsmCluster(1, sdk=3, max_generic_bytes=100) as cluster:
        assert cluster.profile.max_generic_bytes == 100


@pytest.mark.parametrize("field", [field for field in dataclasses.fields(Profile) if field.name.endswith("_ns")])
def test_every_duration_can_be_given_in_seconds(field):
    """`NAME_s` sets `NAME_ns`."""
    profile = Profile().overridden({field.name[:-3] + "_s": 7.5})

    assert getattr(profile, field.name) == 7_500_000_000


def test_overriding_nothing_gives_the_same_profile():
    """A profile is a value."""
    profile = Profile()

    assert profile.overridden({}) == profile


@pytest.mark.parametrize(
    ("wrong", "right"),
    [("sweep_periods_s", "sweep_period_s"), ("lock_out_after", "lockout_after"), ("key_capcity", "key_capacity")],
)
def test_unknown_field_names_the_nearest(wrong, right):
    """A misspelled override is refused with the spelling that was meant."""
    with pytest.raises(UsageError, match=f"{wrong!r}.*did you mean {right!r}"):
        HsmCluster(3, **{wrong: 1})


def test_unknown_field_without_a_neighbour_is_refused_too():
    """Nothing is guessed where nothing is near."""
    assert unknown_field("qqqqqq") == "'qqqqqq' is no argument of hsm_cluster and no field of its profile"


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"sweep_period_s": 0}, "sweep_period_ns is a whole number of ns, 1 or more; got 0"),
        ({"sweep_period_s": -1}, "sweep_period_s is a number of seconds, 0 or more; got -1"),
        ({"sweep_period_s": float("nan")}, "sweep_period_s is a number of seconds"),
        ({"sweep_period_s": "60"}, "sweep_period_s is a number of seconds"),
        ({"sweep_period_s": 1e300}, "sweep_period_s is a number of seconds"),
        ({"sweep_period_s": [60]}, "sweep_period_s is a number"),
        ({"wire_ns": 0.5}, "wire_ns is a whole number of ns, 0 or more; got 0.5"),
        ({"key_capacity": 0}, "key_capacity is a whole number, 1 or more; got 0"),
        ({"key_capacity": True}, "key_capacity is a whole number, 1 or more; got True"),
        ({"fips": 1}, "fips is True or False; got 1"),
        ({"routing": "fastest"}, "routing is one of 'round_robin', 'random', 'least_busy', 'pinned'; got 'fastest'"),
        ({"retry_mode": "on"}, "retry_mode is one of 'off', 'standard'; got 'on'"),
        ({"crash_peer": None}, "crash_peer is one of 'reset', 'silence'; got None"),
        ({"create_returns": "some"}, "create_returns is one of 'auto', 'all tried', 'enough'; got 'some'"),
        ({"routing": "pinned", "pinned_to": "hms-1"}, "pinned_to is the id of an HSM, such as 'hsm-2', or None"),
        ({"pinned_to": "hsm-1"}, "pinned_to='hsm-1' has a meaning only with routing='pinned'"),
    ],
)
def test_values_out_of_range_are_refused_with_what_is_allowed(overrides, message):
    """A wrong value is refused when the cluster is built."""
    with pytest.raises(UsageError) as caught:
        HsmCluster(3, **overrides)

    assert message in str(caught.value)


@pytest.mark.parametrize("sdk", [4, "5", 0])
def test_there_are_two_sdks(sdk):
    """3 and 5."""
    with pytest.raises(UsageError, match=r"sdk"):
        HsmCluster(3, sdk=sdk)


def test_names_for_overrides_are_sorted_and_complete():
    """Each field, and the seconds of each duration."""
    names = field_names()

    assert names == sorted(names)
    assert "sweep_period_ns" in names
    assert "sweep_period_s" in names
    assert "key_capacity" in names


def test_every_number_says_where_it_comes_from():
    """Each has a source or the word guess beside it."""
    text = inspect.getsource(Profile)
    silent = []
    for field in dataclasses.fields(Profile):
        if type(field.default) is int and field.name != "sdk":
            doc = text.split(f"    {field.name}: ", 1)[1].split('"""', 2)[1]
            if not any(word in doc for word in SOURCES):
                silent.append(field.name)

    assert silent == []
