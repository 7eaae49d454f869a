"""Words: what a spec is made of and where it is wrong."""

import pickle
import shlex

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_hsmcluster.errors import UsageError
from pytest_hsmcluster.faults.words import Mistake, SpecError, pairs, quoted, words_of

SETTLED = settings(deadline=None, derandomize=True, database=None)

TEXT = st.text(st.characters(codec="utf-8"), max_size=20)


def test_words_know_where_they_stand():
    """`start` and `raw` are the characters of the spec, quotes included."""
    text = "  drop\t@  wire.request key='kek 1' "

    words = words_of(text)

    assert [word.text for word in words] == ["drop", "@", "wire.request", "key=kek 1"]
    assert [text[word.start : word.start + len(word.raw)] for word in words] == [word.raw for word in words]
    assert words[3].raw == "key='kek 1'"


@pytest.mark.parametrize(
    ("text", "key", "value"),
    [("a=b", "a", "b"), ("a-b_c=", "a-b_c", ""), ("a=b=c", "a", "b=c"), ("'a=b'", None, "b"), ("=b", None, "b")],
)
def test_a_key_stands_unquoted_before_the_first_equals_sign(text, key, value):
    """A quoted word is a value as a whole."""
    word = words_of(text)[0]

    assert (word.key, word.value) == (key, value)


@SETTLED
@given(st.text(st.sampled_from("ab@=é# \t\n\r\f\xa0"), max_size=12).filter(str.strip))
def test_words_without_quotes_are_those_of_a_shell(text):
    """They are read in a faster way, to the same end."""
    assert [word.text for word in words_of(text)] == shlex.split(text)
    assert all(text[word.start :].startswith(word.raw) for word in words_of(text))


@SETTLED
@given(st.lists(TEXT, min_size=1, max_size=4))
def test_quoted_words_read_back(texts):
    """Whatever a value contains, its word reads back and is no key=value."""
    words = words_of(" ".join(quoted(text) for text in texts))

    assert [word.text for word in words] == texts
    assert all(word.key is None and word.raw != "@" for word in words)


@SETTLED
@given(st.lists(TEXT, min_size=1, max_size=4))
def test_pairs_read_back(texts):
    """A value with any characters comes back as it was."""
    words = words_of(" ".join(pairs([("key", text) for text in texts])))

    assert [(word.key, word.value) for word in words] == [("key", text) for text in texts]


@pytest.mark.parametrize("text", ["app#2", "hsm-*", "a@b", "kek[1]", "ключ"])
def test_a_plain_value_stays_bare(text):
    """Quotes stand only where they are needed."""
    assert quoted(text) == text
    assert pairs([("client", text)]) == [f"client={text}"]


def test_a_value_with_an_equals_sign_needs_no_quotes_after_its_key():
    """Only a word of its own would be taken for key=value."""
    assert pairs([("key", "a=b")]) == ["key=a=b"]
    assert quoted("a=b") == "'a=b'"


@pytest.mark.parametrize(
    ("text", "message", "start"),
    [
        ("", "an empty spec", 0),
        ("  \n", "an empty spec", 0),
        ("crash @ hsm.commit key='kek", "a quote that is never closed", 19),
        ('crash "', "a quote that is never closed", 6),
        ("crash \\", "a backslash with nothing after it", 6),
    ],
)
def test_text_that_has_no_words_is_refused(text, message, start):
    """The error shows where the trouble begins."""
    with pytest.raises(SpecError) as refused:
        words_of(text)

    assert message in str(refused.value)
    assert refused.value.mistakes[0].start == start


@pytest.mark.parametrize("text", [None, 3, b"crash @ hsm.commit"])
def test_a_spec_is_text(text):
    """Anything else is a mistake of the caller."""
    with pytest.raises(UsageError, match="a spec is text such as 'crash @ hsm.commit nth=1'"):
        words_of(text)


def test_carets_stand_below_what_they_mean():
    """Each mistake has a line of its own; line breaks and tabs stay one character wide."""
    error = SpecError("crahs\t@ x", (Mistake(0, 5, "what?"), Mistake(8, 9, "where?"), Mistake(9, 9, "the end")))

    assert str(error).splitlines() == [
        "this spec cannot be used:",
        "    crahs @ x",
        "    ^^^^^ what?",
        "            ^ where?",
        "             ^ the end",
    ]


def test_the_error_travels_between_processes():
    """A worker can hand it to its controller."""
    error = pickle.loads(pickle.dumps(SpecError("x", (Mistake(0, 1, "what?"),))))

    assert error.spec == "x"
    assert "^ what?" in str(error)
