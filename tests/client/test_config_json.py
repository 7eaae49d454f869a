"""Is every file read whole, written whole, or refused with its place?"""

import json
import os
import stat
import sys

import pytest

from pytest_hsmcluster.client.config_json import MISSING, find, load, parse, put, render, repeated, save, show, spelled
from pytest_hsmcluster.errors import ConfigError

ODD_FILES = {
    "empty object": "{}",
    "one line": '{"a":{"b":[1,2,{"c":null}]},"d":""}',
    "tabs and blank lines": '\n\n\t{\t"b" : 1 ,\n\n "a" :\t2 }\n\n',
    "carriage returns": '{\r\n"a": 1\r\n}\r\n',
    "numbers": '{"i": -0, "f": -0.0, "e": 1E5, "tiny": 5e-324, "big": 12345678901234567890123456789, "half": 0.5}',
    "text": '{"umlaut": "Schlüssel", "escaped": "\\u00fc", "emoji": "\\ud83d\\ude00", "control": "\\u0000\\u001f\\n"}',
    "lone surrogate": '{"\\ud800": "\\udfff\\ud800"}',
    "separators": '{"line": "\u2028\u2029\u0085", "slash": "\\/"}',
    "odd keys": '{"": {"": 1}, "a.b": 2, "[0]": 3, " ": 4, "a\\"b": 5}',
    "empty containers": '{"a": {}, "b": [], "c": [[], {}]}',
    "deep": '{"a":' * 60 + "1" + "}" * 60,
    "order": '{"z": 1, "a": 2, "m": {"y": 1, "b": 2}}',
}

TRAILING_COMMA = (
    "line 3, column 1: not JSON: Expecting property name enclosed in double quotes"
    if sys.version_info < (3, 13)
    else "line 2, column 9: not JSON: Illegal trailing comma before end of object"
)
"""Python says what it met, and since 3.13 what is wrong with that."""


@pytest.mark.parametrize("text", ODD_FILES.values(), ids=ODD_FILES)
def test_what_is_read_is_what_is_written(text, tmp_path):
    """Read, written, read again: same values, same order; written twice: the same bytes."""
    first = parse(text, "odd")
    assert first == json.loads(text)
    file = save(render(first), tmp_path / "odd.cfg")
    second = parse(load(file), "odd")
    assert second == first
    assert json.dumps(second) == json.dumps(json.loads(text))  # order and -0.0 too
    written = file.read_bytes()
    assert save(render(second), file).read_bytes() == written


def test_a_byte_order_mark_is_layout(tmp_path):
    """Some editors write one; it is not part of the first key and is not written back."""
    (tmp_path / "a.cfg").write_bytes(b'\xef\xbb\xbf{"a": 1}')
    assert parse(load(tmp_path / "a.cfg"), "a.cfg") == {"a": 1}


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "is empty; a configuration file is a JSON object"),
        (" \n\t ", "is empty; a configuration file is a JSON object"),
        ("[]", "is an array; a configuration file is a JSON object"),
        ("null", "is null; a configuration file is a JSON object"),
        ("3", "is 3; a configuration file is a JSON object"),
        ('"client"', 'is "client"; a configuration file is a JSON object'),
        ('{\n  "a": 1,\n}', TRAILING_COMMA),
        ('{"a": 1} {"b": 2}', "line 1, column 10: not JSON: Extra data"),
        ('{"a" 1}', "line 1, column 6: not JSON: Expecting ':' delimiter"),
        ('{"a": 1,\n // note\n "b": 2}', "line 2, column 2: not JSON"),
        ('{"a": "x\ny"}', "line 1, column 9: not JSON: Invalid control character at"),
        ("{'a': 1}", "line 1, column 2: not JSON"),
        ('{"a": 01}', "line 1, column 8: not JSON"),
        ('{"a": tru}', "line 1, column 7: not JSON: Expecting value"),
        ('{"NaN": "NaN",\n "b": NaN}', "line 2, column 7: NaN is not a number that JSON can hold"),
        ('{"a": [-Infinity]}', "line 1, column 8: -Infinity is not a number that JSON can hold"),
        ('{"a": "\\"1e999",\n\n  "b": 1e999}', "line 3, column 8: 1e999 is not a number that JSON can hold"),
        ('{"a": ' + "9" * 5000 + "}", "line 1, column 7: " + "9" * 40 + "… is not a number that JSON can hold"),
        ('{"a":' * 70 + "1" + "}" * 70, "is nested more than 64 levels deep"),
        ('{"a":' * 100_000, "is nested more than 64 levels deep"),
        ('{"a": ' + "[" * 70 + "]" * 70 + "}", "is nested more than 64 levels deep"),
    ],
)
def test_a_text_that_is_no_configuration_is_refused_with_its_place(text, complaint):
    """A person is told the file, the line, the column and what was expected."""
    with pytest.raises(ConfigError) as refused:
        parse(text, "some.cfg")
    assert str(refused.value).startswith("some.cfg")
    assert complaint in str(refused.value)


def test_a_repeated_key_is_found_at_any_depth():
    """JSON readers keep one of the two values and drop the other; which one was meant nobody knows."""
    document = parse('{"a": [{"b": 1, "c": 2, "b": 3}], "d": {"e": {}, "e": 1, "e": 2}}', "x")
    assert list(repeated(document)) == [
        "a[0].b stands there more than once; keep one",
        "d.e stands there more than once; keep one",
    ]
    assert list(repeated(parse('{"a": {"b": 1}, "b": {"b": 2}}', "x"))) == []


def test_a_file_that_cannot_be_read_is_refused_by_its_reason(tmp_path, monkeypatch):
    """Missing, a directory, a pipe, a loop of links, not UTF-8, not allowed: each says which."""
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    (tmp_path / "latin").write_bytes(b'{"name": "Schl\xfcssel"}')
    (tmp_path / "utf16").write_text('{"a": 1}', encoding="utf-16")
    os.mkfifo(tmp_path / "pipe")
    reasons = {
        "missing": "there is no such file",
        "missing/deeper": "there is no such file",
        ".": "is a directory",
        "pipe": "is not a regular file",
        "loop": "cannot be read",
        "latin/deeper": "cannot be read|no such file",
        "nul\0": "null byte|no such file",
        "latin": r"is not UTF-8 \(byte 0xfc at offset 14\); save it as UTF-8",
        "utf16": "is not UTF-8",
        "x" * 300: "cannot be read",
    }
    for name, reason in reasons.items():
        with pytest.raises(ConfigError, match=reason):
            load(tmp_path / name)

    def locked(self):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(type(tmp_path), "read_bytes", locked)
    with pytest.raises(ConfigError, match="latin: cannot be read: Permission denied"):
        load(tmp_path / "latin")


def test_a_failed_write_loses_nothing(tmp_path, monkeypatch):
    """The old file stays as it was and no other file is left, whatever stops the write and wherever."""
    file = tmp_path / "a.cfg"
    file.write_text("old")

    for name, failure in [
        ("replace", OSError(28, "No space left on device")),
        ("chmod", OSError(1, "Operation not permitted")),
        ("replace", KeyboardInterrupt()),
    ]:

        def fail(*args, failure=failure):
            raise failure

        with monkeypatch.context() as patch:
            patch.setattr(os, name, fail)
            with pytest.raises(ConfigError if isinstance(failure, OSError) else KeyboardInterrupt) as refused:
                save("new", file)
        assert isinstance(failure, KeyboardInterrupt) or str(refused.value).endswith(
            f"a.cfg: cannot be written: {failure.strerror}"
        )
        assert file.read_text() == "old"
        assert os.listdir(tmp_path) == ["a.cfg"]


@pytest.mark.parametrize("name", ["missing/a.cfg", "folder", "nul\0", "x" * 300])
def test_a_path_that_cannot_be_written_is_refused(tmp_path, name):
    """Folder missing, a folder itself, no name at all: a clear error, and nothing is left behind."""
    (tmp_path / "folder").mkdir()
    with pytest.raises(ConfigError, match="cannot be written"):
        save("new", tmp_path / name)
    assert os.listdir(tmp_path) == ["folder"]


def test_a_write_keeps_permissions_and_links(tmp_path):
    """A file that others may not read stays so, a new one may be read by all, a link stays a link."""
    file, link, fresh = tmp_path / "a.cfg", tmp_path / "link.cfg", tmp_path / "new.cfg"
    file.write_text("old")
    file.chmod(0o600)
    link.symlink_to("a.cfg")
    assert save("new", link) == link
    assert link.is_symlink()
    assert file.read_text() == "new"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    save("new", fresh)
    assert stat.S_IMODE(fresh.stat().st_mode) == 0o644


def test_values_are_found_set_and_taken_out_by_their_steps():
    """Objects on the way are made; a way through something else leads nowhere and changes nothing."""
    document = {"a": [{"b": 1}], "c": 3}
    assert find(document, ("a", 0, "b")) == 1
    assert find(document, ()) is document
    for steps in [("a", 1), ("a", "b"), ("c", "d"), ("x",), ("c", 0)]:
        assert find(document, steps) is MISSING
    put(document, ("a", 0, "x", "y"), 2)
    put(document, ("a", 0, "b"), MISSING)
    put(document, ("not", "there"), MISSING)
    put(document, ("c", "d"), 4)
    put(document, ("a", 7, "d"), 4)
    assert document == {"a": [{"x": {"y": 2}}], "c": 3}
    assert spelled(("a", 0, "x")) == "a[0].x"


def test_values_are_shown_as_the_file_spells_them():
    """People compare the message with their file: true, not True; long ones are cut."""
    assert [show(value) for value in (True, None, "a\n", 1.5, {}, [1])] == [
        "true",
        "null",
        '"a\\n"',
        "1.5",
        "an object",
        "an array",
    ]
    assert show("x" * 100) == '"' + "x" * 58 + "…"
