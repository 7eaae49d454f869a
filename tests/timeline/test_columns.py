"""Characters and columns of a terminal."""

import pytest

from pytest_hsmcluster.timeline.columns import clipped, padded, plain, width_of, wrapped


@pytest.mark.parametrize(("text", "width"), [("key-1", 5), ("鍵", 2), ("⚡1", 3), ("é", 1), ("e\u0301", 1), ("", 0)])
def test_width_counts_columns_not_characters(text, width):
    """Wide characters take two columns, combining ones none."""
    assert width_of(text) == width


def test_lines_break_at_spaces():
    """Words stay whole where they fit; the first line may have another width than the rest."""
    assert wrapped("fail KeyNotOnHsm at hsm-2", 12) == ["fail", "KeyNotOnHsm", "at hsm-2"]
    assert wrapped("fail KeyNotOnHsm at hsm-2", 20, 5) == ["fail KeyNotOnHsm at", "hsm-2"]


def test_a_word_without_room_is_cut_and_nothing_is_lost():
    """A word that is wider than a line goes on in the next one."""
    assert wrapped("CKR_DEVICE_ERROR at", 9) == ["CKR_DEVIC", "E_ERROR", "at"]
    assert "".join(wrapped("鍵" * 7, 5)) == "鍵" * 7


def test_padding_and_clipping_keep_to_columns():
    """A wide character that would stand on the edge is left out, and the gap filled."""
    assert padded(clipped("鍵鍵", 3), 3) == "鍵 "


def test_plain_text_has_no_control_characters():
    """What a terminal would obey is written as an escape; in ASCII every other character too."""
    assert plain("a\x1b[2J\u202e\ud800é") == r"a\x1b[2J\u202e\ud800é"
    assert plain("é鍵", ascii=True) == r"\xe9\u9375"
    assert plain("long…", ascii=True) == "long.."
