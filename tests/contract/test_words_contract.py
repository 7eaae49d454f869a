"""Do the checks mean by their words what the table of words says, whatever happens?"""

import pytest

from campaign.words import Words
from pytest_hsmcluster import History, HsmCheck, HsmCluster
from tests.stories import drawn, play, play_at_once


def keys(findings):
    return [finding.key for finding in findings]


@pytest.fixture
def last_look(monkeypatch):
    """Have `look(cluster)` called just before each cluster is closed."""
    close = HsmCluster.close

    def install(look):
        def looking(cluster):
            if not cluster.closed:
                look(cluster)
            close(cluster)

        monkeypatch.setattr(HsmCluster, "close", looking)

    return install


@pytest.mark.parametrize("tell", [play, play_at_once])
@pytest.mark.parametrize("decade", range(3))
def test_checks_agree_with_their_definitions_in_every_story(tell, decade):
    """At any instant of a story, and at its end, each list is what the sentence of its word gives."""
    for seed in range(decade * 10, decade * 10 + 10):
        records = tell(drawn(seed, 40)).records
        for end in (len(records) // 3, 2 * len(records) // 3, len(records)):
            history = History(records[:end])
            check, words = HsmCheck(history), Words(history)
            assert keys(check.lost_keys()) == words.lost(), (seed, end)
            assert keys(check.at_risk_keys()) == words.at_risk(2), (seed, end)
            assert keys(check.at_risk_keys(copies=3)) == words.at_risk(3), (seed, end)
            assert keys(check.orphan_keys()) == words.orphans(), (seed, end)
            assert keys(check.resurrected_keys()) == words.resurrected(), (seed, end)
            assert bool(check.duplicate_labels()) == bool(words.duplicates()), (seed, end)
            assert bool(check.duplicate_labels(strict=True)) == bool(words.same_labels()), (seed, end)
            assert len(check.undecryptable_data(shredded=True)) == len(words.unopenable_data()), (seed, end)


def test_stories_break_every_promise_somewhere():
    """Otherwise agreement would prove little."""
    told = [Words(History(play(drawn(seed, 40)).records)) for seed in range(40)]
    for word in ("lost", "orphans", "resurrected", "duplicates", "same_labels", "unopenable_data"):
        assert any(getattr(words, word)() for words in told), word


@pytest.mark.parametrize("tell", [play, play_at_once])
def test_differences_are_what_the_hsms_really_differ_in(tell, last_look):
    """Compared with the key stores themselves: presence, attributes, owner and shares."""
    seen = []

    def look(cluster):
        up = [hsm for hsm in cluster.hsms if hsm.state == "up"]
        views = [
            {number: (key.attributes, key.owner, sorted(key.shares)) for number, key in hsm.keys.items() if key.token}
            for hsm in up
        ]
        differ = {number for view in views for number in view if any(view[number] != v.get(number) for v in views)}
        found = [finding for finding in cluster.check.differences() if "it lingers" not in finding.cause]
        assert {finding.handle for finding in found} == differ
        seen.append(bool(differ))

    last_look(look)
    for seed in range(60, 90):
        tell(drawn(seed, 40))
    assert True in seen
    assert False in seen


def test_attribute_that_was_changed_there_and_back_makes_no_difference(make):
    """An HSM that was off meanwhile has the same value as the others."""
    from pytest_hsmcluster import CKA

    cluster = make()
    app = cluster.client()
    key = app.generate_key("AES", 256, label="k")
    with cluster.chaos.crash("hsm-3"):
        app.set_attribute(key, CKA.WRAP, False)
        assert len(cluster.check.differences()) == 0  # hsm-3 is off
        app.set_attribute(key, CKA.WRAP, True)
        app.set_attribute(key, CKA.UNWRAP, True)  # as it was
    cluster.check.in_sync()
    assert cluster.coverage(key) == "full"


@pytest.mark.parametrize(
    "accident",
    ["crash @ client.send op=random", "drop @ wire.response op=random nth=1"],
    ids=["the application dies", "the connection is lost and made anew"],
)
def test_session_key_that_an_accident_took_takes_its_data_along(make, accident):
    """Nobody gave it up; only a logout does."""
    cluster = make()
    app = cluster.client()
    key = app.generate_key("AES", 256, label="tmp", token=False)
    app.encrypt(key, b"data")
    cluster.chaos.inject(accident)
    with pytest.raises(Exception, match="may or may not have been done"):
        app.random(1)
    cluster.clock.advance(10)
    if "client" not in accident:
        app.random(1)
    assert [finding.label for finding in cluster.check.undecryptable_data()] == ["tmp"]
