"""Who keeps all cores busy while something is measured against that?"""

import os
import subprocess
import sys
from types import TracebackType
from typing import Self

BUSY = """
import os
parent = os.getppid()
while os.getppid() == parent:  # nobody is left behind when the parent is killed
    sum(range(100_000))
"""


class Load:
    """Processes that do nothing useful, one for each core, while a `with` block runs; they end with it."""

    def __init__(self, cores: int | None = None) -> None:
        self.cores = cores or os.cpu_count() or 1
        self.processes: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> Self:
        for _ in range(self.cores):
            self.processes.append(subprocess.Popen([sys.executable, "-S", "-c", BUSY]))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for process in self.processes:
            process.kill()
        for process in self.processes:
            process.wait()
