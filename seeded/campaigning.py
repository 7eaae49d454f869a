"""Does the campaign find something in the first stories that it tells?"""

import sys

from campaign.oracle import disagreements
from pytest_hsmcluster.stories.drawing import drawn


def main(stories: int) -> int:
    """Play stories and stop at the first with which something is wrong."""
    for seed in range(stories):
        for what in disagreements(drawn(seed)):
            print(f"story {seed}: {what}")
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1])))
