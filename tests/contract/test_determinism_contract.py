"""Does nothing from outside reach the digest of a journal?"""

import gc

from tests.stories import drawn, play


def digest(make, label="k", user="bob", application="app", zones=("a", "b", "c")):
    cluster = make(zones=zones)
    cluster.create_user(user, "password")
    app = cluster.client(application)
    key = app.generate_key("AES", 256, label=label)
    app.share_key(key, with_user=user)
    cluster.chaos.inject(f"pass @ hsm.execute client={application} key={label} op=sign")
    app.sign(key, b"data")
    cluster.add_hsm(zones[0])
    cluster.clock.advance(400)
    return cluster.history.digest()


def test_no_name_that_a_test_chooses_makes_a_difference(make):
    usual = digest(make)
    assert digest(make, label="payroll") == usual
    assert digest(make, user="amy") == usual
    assert digest(make, application="billing") == usual
    assert digest(make, zones=("eu-west-1a", "eu-west-1b", "eu-west-1c")) == usual
    assert digest(make, zones=("a", "a", "a")) != usual


def test_garbage_collection_makes_no_difference():
    stories = [drawn(seed, 20) for seed in range(5)]
    usual = [play(story).digest for story in stories]
    gc.disable()
    try:
        assert [play(story).digest for story in stories] == usual
    finally:
        gc.enable()
