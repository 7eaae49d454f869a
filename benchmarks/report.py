"""Which table do the measurements make?

Reads what `pytest --benchmark-json` wrote and prints a Markdown table: medians in µs, quartiles,
and the ratio to what the group is measured against (raw `cryptography`, SoftHSM2) in the same run.
"""

import json
import platform
import sys
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any


def main() -> None:
    """Print the table of one run."""
    run = json.loads(Path(sys.argv[1]).read_text())
    cpu = run["machine_info"]["cpu"]
    print(
        f"{cpu.get('brand_raw', 'unknown CPU')}, {cpu.get('count')} cores; Python {platform.python_version()}, "
        f"cryptography {version('cryptography')}, pytest {version('pytest')}; {run['datetime'][:10]}\n"
    )
    print("| what | who | median µs | quartiles µs | against raw | against SoftHSM2 |\n|---|---|---|---|---|---|")
    for row in rows(run["benchmarks"]):
        print(row)


def rows(benchmarks: list[dict[str, Any]]) -> Iterator[str]:
    """Yield one line of the table for each measurement, group by group."""
    groups: dict[str, list[dict[str, Any]]] = {}
    for one in benchmarks:
        groups.setdefault(one["group"], []).append(one)
    for group, members in groups.items():
        medians = {who(one): one["stats"]["median"] for one in members}
        for one in members:
            stats = one["stats"]
            against = [ratio(stats["median"], medians.get(other), who(one) == other) for other in ("raw", "SoftHSM2")]
            print_as = [group, who(one), us(stats["median"]), f"{us(stats['q1'])} … {us(stats['q3'])}", *against]
            yield f"| {' | '.join(print_as)} |"


def who(benchmark: dict[str, Any]) -> str:
    """Return who was measured: raw, SoftHSM2, or the client with its parameter."""
    name = benchmark["name"]
    if "softhsm" in name:
        return "SoftHSM2"
    return "raw" if "raw" in name else f"here {benchmark['param'] or ''}".strip()


def us(seconds: float) -> str:
    """Return seconds as µs, with as many digits as matter."""
    value = seconds * 1e6
    return f"{value:,.1f}" if value < 1000 else f"{value:,.0f}"


def ratio(mine: float, other: float | None, same: bool) -> str:
    """Return how many times as long it took, or nothing where there is nothing to compare with."""
    return "" if other is None or same else f"{mine / other:.3g} ×"


if __name__ == "__main__":
    main()
