"""What is a seeded mistake, and how does it get into a copy of the package?"""

from dataclasses import dataclass
from pathlib import Path

PACKAGE = "pytest_hsmcluster"


@dataclass(frozen=True, slots=True)
class Mistake:
    """One change that a maintainer could make, and should not.

    Attributes:
        name: `cleanup-skips-the-source`, …
        file: in the package, such as `client/creation.py`.
        old: text that stands there exactly once; new: what takes its place.
        why: what is wrong with it then, in one line.
    """

    name: str
    file: str
    old: str
    new: str
    why: str

    @property
    def room(self) -> str:
        """The folder, or the module, that it is in."""
        return self.file.partition("/")[0].removesuffix(".py")

    def line(self, root: Path) -> int:
        """Return the line in which it begins."""
        return (root / PACKAGE / self.file).read_text(encoding="utf-8").partition(self.old)[0].count("\n") + 1

    def made_in(self, text: str) -> str:
        """Return the text of the file with the mistake in it.

        Raises:
            ValueError: the old text does not stand there exactly once: the source has moved on.
        """
        if text.count(self.old) != 1:
            raise ValueError(f"{self.name}: {self.old!r} stands {text.count(self.old)} times in {self.file}, not once")
        return text.replace(self.old, self.new)
