"""The blocking client: each page says what an application must know."""

import inspect

import pytest

from pytest_hsmcluster import Client

CALLS = [name for name, one in vars(Client).items() if inspect.isfunction(one) and not name.startswith("_")]


@pytest.mark.parametrize("name", CALLS)
def test_every_operation_is_documented_in_a_sentence(name):
    """The first line is a sentence; optional arguments are named ones."""
    call = getattr(Client, name)
    assert inspect.getdoc(call).splitlines()[0].endswith(".")
    optional = [one for one in inspect.signature(call).parameters.values() if one.default is not one.empty]
    assert all(one.kind is one.KEYWORD_ONLY or one.name == "bits" for one in optional)


def test_a_client_shows_who_it_is(make):
    """Its name, its user, and whether it is alive; the name of an application stays, that of its process changes."""
    cluster = make(sdk=3)
    app = cluster.client("app")
    assert (app.name, app.user, app.alive) == ("app", cluster.default_user, True)
    assert repr(app) == "<Client app user=crypto_user alive>"
    app.close()
    assert (app.alive, repr(app)) == (False, "<Client app user=crypto_user ended>")


def test_time_passes_only_in_calls(make):
    """A call takes what it costs in simulated time: 2 ms for a signature, tens of ms for each copy."""
    cluster = make(sdk=3)
    app = cluster.client()
    before = cluster.clock.now
    app.random(4)
    assert cluster.clock.now - before == pytest.approx(0.002)
    before = cluster.clock.now
    app.generate_key("AES", 256)
    assert 0.16 < cluster.clock.now - before < 0.17
