"""Which minimum of copies is refused, which is doubted, which is fine?"""

import enum
import warnings

import pytest

from pytest_hsmcluster.client.config import ConfigWarning, check_minimum
from pytest_hsmcluster.errors import UsageError


class _Count(enum.IntEnum):
    TWO = 2


@pytest.mark.parametrize(("value", "hsms"), [(1, 1), (1, 2), (1, 3), (2, 3), (_Count.TWO, 3), (27, 28)])
def test_a_minimum_that_leaves_an_hsm_to_spare_is_accepted_silently(value, hsms):
    """One HSM may be down and keys can still be created: nothing to say."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_minimum(value, hsms, "min_srv")


@pytest.mark.parametrize("value", [0, -1, 4, True, False, None, 2.0, "2", b"2", [2], float("nan"), 10**30])
def test_a_minimum_that_no_create_can_meet_is_refused(value):
    """The message names where, the value and the allowed range."""
    with pytest.raises(
        UsageError, match=r"^min_srv of generate_key is .*; allowed: an integer, 1…3, the number of HSMs"
    ):
        check_minimum(value, 3, "min_srv of generate_key")


@pytest.mark.parametrize(
    ("hsms", "recommended"), [(1, None), (2, None), (3, "recommendation: 2)"), (5, "recommendation: 2…4)")]
)
def test_the_recommended_range_is_named_where_there_is_one(hsms, recommended):
    """The documented range, two to one fewer than the HSMs, is empty for fewer than three."""
    with pytest.raises(UsageError) as refused:
        check_minimum(99, hsms, "min_srv")
    assert f"1…{hsms}" in str(refused.value)
    assert ("recommendation" in str(refused.value)) is (recommended is not None)
    assert recommended is None or recommended in str(refused.value)


def test_a_minimum_of_all_hsms_is_accepted_with_a_warning():
    """The warning names the documented maximum and what will happen."""
    with pytest.warns(ConfigWarning) as caught:
        check_minimum(3, 3, "create_object_minimum_nodes of the marker")
    (warning,) = caught
    assert str(warning.message) == (
        "create_object_minimum_nodes of the marker is 3, every HSM of the cluster; the documented maximum is 2, "
        "one fewer than the HSMs: with this value no key can be created while one HSM is down"
    )
    assert warning.filename == __file__


def test_an_enormous_value_does_not_flood_the_message():
    """The value is shortened, the range is not."""
    with pytest.raises(UsageError) as refused:
        check_minimum("x" * 100_000, 3, "min_srv")
    assert len(str(refused.value)) < 300
