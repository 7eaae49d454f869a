"""What are the four classic ways to lose track of a key, as faults?"""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import TypeAlias

from pytest_hsmcluster import Chaos

Storm: TypeAlias = AbstractContextManager[None]


@contextmanager
def lost_with_its_hsm(chaos: Chaos) -> Iterator[None]:
    """The HSM that makes a key dies before the key is anywhere else."""
    with chaos.inject("destroy source @ client.clone nth=1"):
        yield


@contextmanager
def missed_by_routing(chaos: Chaos) -> Iterator[None]:
    """A new key is not copied to one HSM, and the next call is routed there."""
    with chaos.inject("drop @ client.clone hsm=hsm-2 nth=1"):
        yield


@contextmanager
def orphan_left(chaos: Chaos) -> Iterator[None]:
    """A create reaches one HSM only, and what it leaves cannot be cleaned up.

    The service's own sweep has to be late as well: it would bring the key to a second HSM while SDK 5 still asks.
    """
    with chaos.stall_sync(), chaos.fail_clone(), chaos.fail_cleanup():
        yield


@contextmanager
def duplicate_after_retry(chaos: Chaos) -> Iterator[None]:
    """A key is made, and the answer that says so is lost."""
    with chaos.lose_response("generate_key"):
        yield
