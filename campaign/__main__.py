"""Does anything disagree with the stories of these seeds?  `python -m campaign --seeds 0..1000`"""

import argparse
import re
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from .seeds import broken, title

LONGEST_S = 30
"""What one seed takes at most; it should be hundredths of one."""


def main() -> int:
    """Play the stories of some seeds, print the first that disagrees and return 1; 0 if none does."""
    parser = argparse.ArgumentParser(prog="python -m campaign", description=__doc__)
    parser.add_argument("--seeds", type=_seeds, default=range(1000), metavar="A..B", help="default: 0..1000")
    parser.add_argument("--all", action="store_true", help="go on after the first")
    arguments = parser.parse_args()
    wrong = 0
    for seed in arguments.seeds:
        with _at_most(LONGEST_S):
            found = broken(seed)
        if found:
            wrong += 1
            sys.stdout.write(f"seed {seed}: {found[0]}\n")
            sys.stdout.writelines(f"    {line}\n" for line in (*found[1:], *title(seed).splitlines()))
            if not arguments.all:
                return 1
    sys.stdout.write(f"{len(arguments.seeds)} seeds, {wrong} disagree\n")
    return min(wrong, 1)


@contextmanager
def _at_most(seconds: int) -> Iterator[None]:
    def hangs(number: int, frame: object) -> None:
        raise TimeoutError(f"it hangs: nothing came in {seconds} s")

    before = signal.signal(signal.SIGALRM, hangs)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def _seeds(text: str) -> range:
    found = re.fullmatch(r"([0-9]+)\.\.([0-9]+)", text)
    if found is None or int(found[1]) >= int(found[2]):
        raise argparse.ArgumentTypeError(f"{text!r} is no range of seeds, such as 0..1000")
    return range(int(found[1]), int(found[2]))


if __name__ == "__main__":
    sys.exit(main())
