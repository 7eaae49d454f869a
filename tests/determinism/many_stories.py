"""Which tests does a run consist of that tells many stories?  Not part of the suite: see `telling`."""

import random


def test_block(numbers, tell, notebook):
    """In another order each time: pytest-randomly seeds the dice anew in each run."""
    for number in random.sample(numbers, len(numbers)):
        notebook.note(number, tell(number))
