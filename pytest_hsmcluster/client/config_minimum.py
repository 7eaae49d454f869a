"""May a create be asked for so many copies?"""

import reprlib
import warnings
from collections.abc import Iterator
from typing import Final

from ..errors import UsageError
from .config_rules import ConfigWarning, Rule, whole

# AWS CloudHSM User Guide, "AWS CloudHSM quotas": HSMs per cluster, not adjustable.
_MOST_HSMS: Final = 28


def check_minimum(value: object, hsms: int, where: str) -> None:
    """Refuse a minimum of copies that no create could meet, and warn of one that needs every HSM.

    Args:
        value: of `create_object_minimum_nodes` or `min_srv`.
        hsms: how many HSMs the cluster has.
        where: what the value was given for, as the message names it.

    Raises:
        UsageError: `value` is not an integer from 1 to `hsms`.

    Warns:
        ConfigWarning: `value` is `hsms`, and that is more than 1.

    Source:
        AWS CloudHSM User Guide, "Key synchronization": at least two, at most one fewer than the
        HSMs. That a value above the number of HSMs is refused at once, and not at each create, is our choice.
    """
    rule = minimum_rule(hsms)
    if not rule.admits(value):
        raise UsageError(f"{where} is {reprlib.repr(value)}; allowed: {rule.allowed}")
    for warning in minimum_warnings(value, hsms, where):
        warnings.warn(warning, ConfigWarning, stacklevel=2)


def minimum_warnings(value: object, hsms: int | None, where: str) -> Iterator[str]:
    """Yield one sentence when the minimum is all the HSMs that there are."""
    if hsms is not None and hsms > 1 and value == hsms:
        yield (
            f"{where} is {hsms}, every HSM of the cluster; the documented maximum is {hsms - 1}, one fewer than the"
            " HSMs: with this value no key can be created while one HSM is down"
        )


def minimum_rule(hsms: int | None) -> Rule:
    """Return what a minimum may be in a cluster of so many HSMs, or of a size that is not known."""
    if hsms is None:
        hint = ", and not above the number of HSMs (documented recommendation: 2 up to one fewer than the HSMs)"
        return whole(1, _MOST_HSMS, hint)
    if hsms < 3:
        return whole(1, hsms, ", the number of HSMs")
    recommended = "2" if hsms == 3 else f"2…{hsms - 1}"
    return whole(1, hsms, f", the number of HSMs (documented recommendation: {recommended})")
