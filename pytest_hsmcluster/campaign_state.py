"""Which stories of a campaign have been played, and what was found?

Kept in one JSON file, which is written anew after each block and put in the place of the old one in one step: whenever
a campaign is stopped, the file is whole.
"""

import fcntl
import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, Any, NamedTuple, Self

from .errors import UsageError

FORMAT = "hsmcluster-campaign"
VERSION = 1


class Find(NamedTuple):
    """Something that a block found.

    Attributes:
        block: its number, which is its seed too.
        what: what is wrong, in a few words.
        notes: the rest of what was told: a test to paste, specs.
    """

    block: int
    what: str
    notes: tuple[str, ...] = ()

    @classmethod
    def of(cls, error: BaseException, block: int) -> Self:
        """Return what an error says."""
        lines = str(error).splitlines() or [type(error).__name__]
        return cls(block, lines[0], tuple(getattr(error, "__notes__", ())))


class Campaign:
    """How many stories are to be played with each test, and which have been.

    Args:
        stories: in all; a block that is begun is played to its end.
        size: stories of one block.
        file: where it is kept; None keeps nothing.

    Raises:
        UsageError: the file cannot be used, or another campaign is using it.
    """

    def __init__(self, stories: int, size: int, file: Path | None) -> None:
        self.stories = stories
        self.size = size
        self.file = file
        self.done: dict[str, list[int]] = {}
        self.finds: dict[str, list[Find]] = {}
        self._lock: IO[str] | None = None
        if file is not None:
            self._lock = _locked(file)
            try:
                if file.exists():
                    self._read(file)
            except UsageError:
                self.close()
                raise

    @classmethod
    def of_controller(cls, told: dict[str, Any]) -> Self:
        """Return what `for_workers` told."""
        campaign = cls(told["stories"], told["size"], None)
        campaign.done = {test: _unpacked(ranges) for test, ranges in told["done"].items()}
        return campaign

    def for_workers(self) -> dict[str, Any]:
        """Return what a worker has to know, in JSON's types."""
        done = {test: _packed(blocks) for test, blocks in self.done.items()}
        return {"stories": self.stories, "size": self.size, "done": done}

    @property
    def blocks(self) -> range:
        """The numbers of the blocks that these stories are."""
        return range(-(-self.stories // self.size))

    def left(self, test: str) -> list[int]:
        """Return the blocks of a test that have not been played."""
        done = dict.fromkeys(self.done.get(test, ()))
        return [block for block in self.blocks if block not in done]

    def name_of(self, block: int) -> str:
        """Return the stories of a block as text: `50-99`."""
        return f"{block * self.size}-{(block + 1) * self.size - 1}"

    def played(self, test: str, block: int, find: Find | None) -> None:
        """Keep that a block was played, and what it found."""
        self.done.setdefault(test, []).append(block)
        if find is not None:
            self.finds.setdefault(test, []).append(find)
        if self.file is not None:
            self._write(self.file)

    def close(self) -> None:
        """Let another campaign have the file."""
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    # -- the file -------------------------------------------------------------------------

    def _write(self, file: Path) -> None:
        tests = {
            test: {"done": _packed(blocks), "finds": [find._asdict() for find in self.finds.get(test, ())]}
            for test, blocks in self.done.items()
        }
        state = {"format": FORMAT, "version": VERSION, "block": self.size, "tests": tests}
        fresh = file.with_name(f"{file.name}.new")
        with fresh.open("w", encoding="utf-8") as out:
            json.dump(state, out, indent=1)
            out.flush()
            os.fsync(out.fileno())
        fresh.replace(file)

    def _read(self, file: Path) -> None:
        way_out = f"move {file} away, and the campaign begins anew"
        try:
            state = json.loads(file.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, ValueError) as error:
            raise UsageError(f"what a campaign has played cannot be read from {file}: {error}; {way_out}") from error
        if not isinstance(state, dict) or state.get("format") != FORMAT or state.get("version") != VERSION:
            raise UsageError(f"{file} does not say what a campaign has played, or not in this version's way; {way_out}")
        if state.get("block") != self.size:
            raise UsageError(
                f"the campaign in {file} is played in blocks of {state.get('block')} stories, and {self.size} were "
                f"asked for: use --campaign-block={state.get('block')}, or {way_out}"
            )
        try:
            for test, kept in state["tests"].items():
                self.done[test] = _unpacked(kept["done"])
                self.finds[test] = [Find(one["block"], one["what"], tuple(one["notes"])) for one in kept["finds"]]
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise UsageError(f"{file} is damaged: {type(error).__name__} {error}; {way_out}") from error


def whole_number(name: str, text: str, what: str) -> int:
    """Return a number of an option.

    Raises:
        UsageError: it is no whole number from 1.
    """
    if not text.strip().isdecimal() or int(text) < 1:
        raise UsageError(f"{name} is how many {what}: a whole number, 1 or more; got {text!r}")
    return int(text)


def _locked(file: Path) -> IO[str]:
    """Return a file that is open for as long as this campaign uses the other one."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        lock = file.with_name(f"{file.name}.lock").open("w", encoding="utf-8")
    except OSError as error:
        raise UsageError(f"a campaign cannot be kept in {file}: {error}") from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        lock.close()
        raise UsageError(f"another campaign is being kept in {file}: wait for it, or use --campaign-file") from error
    return lock


def _packed(blocks: Iterable[int]) -> list[list[int]]:
    """Return numbers as ranges [first, last]."""
    ranges: list[list[int]] = []
    for block in sorted(dict.fromkeys(blocks)):
        if ranges and ranges[-1][1] == block - 1:
            ranges[-1][1] = block
        else:
            ranges.append([block, block])
    return ranges


def _unpacked(ranges: Iterable[Any]) -> list[int]:
    return [block for pair in ranges for block in _range(*pair)]


def _range(first: int, last: int) -> Iterator[int]:
    if not (isinstance(first, int) and isinstance(last, int) and 0 <= first <= last < 10**9):
        raise ValueError(f"{first}..{last} is no range of blocks")
    return iter(range(first, last + 1))
