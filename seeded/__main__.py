"""Which of our own seeded mistakes does nobody catch?"""

import argparse
import os
import sys
import time

from . import MISTAKES
from .catching import CATCHERS, Look
from .trying import ROOT, Trial, try_all


def main() -> int:
    """Try the mistakes, print the table; return 1 if one survives, 2 if there is a mistake already."""
    parser = argparse.ArgumentParser(prog="python -m seeded", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help="try these mistakes only")
    parser.add_argument("--jobs", type=int, default=min(2, os.cpu_count() or 1), help="at once (default: %(default)s)")
    arguments = parser.parse_args()
    unknown = sorted({*arguments.names} - {mistake.name for mistake in MISTAKES})
    if unknown:
        parser.error(f"no mistake is called {', '.join(unknown)}")
    chosen = [mistake for mistake in MISTAKES if not arguments.names or mistake.name in arguments.names]

    began, trials = time.monotonic(), dict[str, Trial]()
    for result in try_all(chosen, CATCHERS, arguments.jobs):
        if isinstance(result, Look):
            print(f"without a mistake: {result.catcher} in {result.seconds:.1f} s", flush=True)
            if result.found:
                print(f"finds something nevertheless: {result.culprit}")
                return 2
        else:
            trials[result.mistake.name] = result
            print(f"[{len(trials)}/{len(chosen)}] {_line(result)}", flush=True)
    print(*table([trials[mistake.name] for mistake in chosen]), sep="\n")
    survivors = [trial for trial in trials.values() if trial.caught is None]
    seconds = time.monotonic() - began
    print(f"\n{len(chosen)} seeded mistakes, {len(chosen) - len(survivors)} caught, in {seconds:.0f} s")
    return 1 if survivors else 0


def table(trials: list[Trial]) -> list[str]:
    """Return a line for each mistake: its name, where, what is wrong, who caught it and how fast."""
    lines = ["", "seeded mistakes", "==============="]
    for trial in trials:
        mistake = trial.mistake
        lines.append(f"{mistake.name}  {mistake.file}:{mistake.line(ROOT)}")
        lines.append(f"    {mistake.why}")
        lines.append(f"    {_line(trial).partition(': ')[2]}")
    return lines


def _line(trial: Trial) -> str:
    caught = trial.caught
    if caught is None:
        return f"{trial.mistake.name}: SURVIVED {sum(look.seconds for look in trial.looks):.1f} s of looking"
    return f"{trial.mistake.name}: caught by {caught.catcher} in {caught.seconds:.1f} s ({caught.culprit})"


if __name__ == "__main__":
    sys.exit(main())
