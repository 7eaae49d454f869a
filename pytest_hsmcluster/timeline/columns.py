"""How wide are these characters in a terminal, and how do they fit into a column?"""

import unicodedata


def plain(text: str, *, ascii: bool = False) -> str:
    """Return text that a terminal shows as it stands: what cannot be printed is written as an escape."""
    safe = "".join(char if char.isprintable() else _escape(char) for char in text)
    return safe.replace("…", "..").encode("ascii", "backslashreplace").decode() if ascii else safe


def width_of(text: str) -> int:
    """Return how many columns the text takes; East Asian wide characters take two, combining ones none."""
    if text.isascii():
        return len(text)
    return sum(_width(char) for char in text)


def padded(text: str, columns: int) -> str:
    """Return the text filled with spaces up to this width."""
    return text + " " * (columns - width_of(text))


def clipped(text: str, columns: int) -> str:
    """Return the text, cut at the end where it is wider than this."""
    while width_of(text) > columns:
        text = text[:-1]
    return text


def wrapped(text: str, columns: int, further: int | None = None) -> list[str]:
    """Return the text in lines, broken at spaces, and inside a word only where it must be.

    Args:
        columns: the width of the first line, 2 or more.
        further: the width of all other lines; None: the same.
    """
    lines, room = [""], columns
    further = columns if further is None else further
    for word in text.split(" "):
        longer = f"{lines[-1]} {word}" if lines[-1] else word
        if width_of(longer) <= room:
            lines[-1] = longer
            continue
        if lines[-1]:
            lines.append("")
            room = further
        while width_of(word) > room:
            lines[-1] = clipped(word, room)
            word = word[len(lines[-1]) :]
            lines.append("")
            room = further
        lines[-1] = word
    return lines


def _width(char: str) -> int:
    if unicodedata.combining(char):
        return 0
    return 2 if unicodedata.east_asian_width(char) in "WF" else 1


def _escape(char: str) -> str:
    return char.encode("unicode_escape", "surrogatepass").decode("ascii")
