"""Which HSM a call goes to, and what becomes of a call that is sent to the wrong one."""

import pytest

from pytest_hsmcluster import CKR, KeyNotOnHsm, Kind, RequestTimeout, UsageError


def targets(cluster, command="random"):
    """Return where the commands of one name were executed, in order."""
    events = cluster.history.of(Kind.REACH)
    return [event.hsm for event in events if event.point == "hsm.execute" and event.command == command]


def ask(app, times):
    for _ in range(times):
        app.random(4)


def test_round_robin_goes_through_the_hsms_in_order(make):
    """The default; a guess, the service says only that it balances."""
    cluster = make(sdk=3)
    ask(cluster.client(), 5)
    assert targets(cluster) == ["hsm-1", "hsm-2", "hsm-3", "hsm-1", "hsm-2"]


def test_each_process_has_its_own_turn(make):
    """Two applications do not shift each other's routing."""
    cluster = make(sdk=3)
    one, two = cluster.client("one"), cluster.client("two")
    ask(one, 1)
    ask(two, 1)
    assert targets(cluster) == ["hsm-1", "hsm-1"]


def test_random_routing_follows_the_seed(make):
    """Equal seeds, equal routes; another seed, another one; all HSMs get their share."""

    def route(seed):
        cluster = make(sdk=3, routing="random", seed=seed)
        ask(cluster.client(), 60)
        return targets(cluster)

    assert route(1) == route(1)
    assert route(1) != route(2)
    assert all(route(1).count(hsm) > 8 for hsm in ("hsm-1", "hsm-2", "hsm-3"))


def test_least_busy_takes_the_hsm_with_the_fewest_requests_under_way(make):
    """While a request is held on its way to hsm-1 the others go to hsm-2, the first of equals."""
    cluster = make(sdk=3, routing="least_busy")
    app, other = cluster.client("app"), cluster.client("other")
    ask(other, 2)
    assert targets(cluster) == ["hsm-1", "hsm-1"]
    with cluster.chaos.inject("hold @ wire.request command=random client=app"):
        with pytest.raises(RequestTimeout):
            ask(app, 1)
        ask(other, 2)
        assert targets(cluster)[-2:] == ["hsm-2", "hsm-2"]


@pytest.mark.parametrize(("pinned_to", "expected"), [(None, "hsm-1"), ("hsm-2", "hsm-2")])
def test_pinned_routing_stays_with_one_hsm_while_it_is_up(make, pinned_to, expected):
    """Pinned to an HSM or to the first; when that is down another one serves."""
    cluster = make(sdk=3, routing="pinned", pinned_to=pinned_to)
    app = cluster.client()
    ask(app, 3)
    assert targets(cluster) == [expected] * 3
    cluster.chaos.crash(expected)
    ask(app, 1)
    assert targets(cluster)[-1] != expected


# -- session keys ----------------------------------------------------------------------------


@pytest.mark.parametrize("routing", ["round_robin", "random", "least_busy", "pinned"])
def test_session_key_calls_go_where_the_key_lives(make, routing):
    """Whatever the rule: the holder, always."""
    cluster = make(sdk=3, routing=routing)
    app = cluster.client()
    ask(app, 1)
    dek = app.generate_key("AES", 256, label="dek", token=False)
    (home,) = [hsm.id for hsm in cluster.hsms if hsm.keys]
    for _ in range(4):
        app.decrypt(dek, app.encrypt(dek, b"data"))
        ask(app, 1)

    assert set(targets(cluster, "encrypt") + targets(cluster, "decrypt")) == {home}
    cluster.check.session_keys_stay_put()


def test_a_session_key_can_be_found_wrapped_and_deleted(make):
    """Found handles of session keys lead home as well; both keys of a wrap are looked at."""
    cluster = make(sdk=3)
    app = cluster.client()
    kek = app.generate_key("AES", 256, label="kek")
    app.generate_key("AES", 128, label="dek", token=False)
    (dek,) = app.find_keys(label="dek")
    blob = app.wrap_key(dek, with_key=kek)
    again = app.unwrap_key(blob, with_key=kek, kind="AES", label="dek-2", token=False)
    app.delete_key(dek)

    assert app.find_keys(label="dek") == []
    assert not again.token
    cluster.check.session_keys_stay_put()


@pytest.mark.parametrize("how", ["crash", "logout", "close"])
def test_a_session_key_dies_with_its_hsm_or_session(make, how):
    """Gone from the HSM in the same instant; using it is CKR_KEY_HANDLE_INVALID, as the guide's sample expects."""
    cluster = make(sdk=5)
    app = cluster.client()
    dek = app.generate_key("AES", 256, label="dek", token=False)
    if how == "crash":
        cluster.chaos.crash("hsm-1")
        cluster.chaos.restart("hsm-1")
        cluster.clock.advance(10)
    elif how == "logout":
        app.logout()
        app.login(cluster.default_user, cluster.default_password)
    else:
        app.close()
        app = cluster.client()
    assert not any(hsm.keys for hsm in cluster.hsms)
    with pytest.raises(KeyNotOnHsm, match="session key 'dek' .* is gone") as caught:
        app.encrypt(dek, b"data")

    assert caught.value.ckr == CKR.KEY_HANDLE_INVALID
    cluster.check.session_keys_stay_put()


# -- routing misses ------------------------------------------------------------------------------


@pytest.mark.parametrize(("sdk", "ckr"), [(3, CKR.OBJECT_HANDLE_INVALID), (5, CKR.KEY_HANDLE_INVALID)])
def test_a_call_that_meets_an_hsm_without_the_key_fails_and_is_not_retried(make, sdk, ckr):
    """The SDK's own return value, the HSM's 0xA8, one attempt: the application has to retry."""
    cluster = make(sdk=sdk, availability_check=False)
    app = cluster.client()
    with cluster.chaos.fail_clone("hsm-2"):
        key = app.generate_key("AES", 256, label="kek")
    with cluster.chaos.inject("pass @ hsm.receive op=encrypt") as asked:
        with pytest.raises(KeyNotOnHsm, match="hsm-2 does not hold key 'kek'") as caught:
            app.encrypt(key, b"data")
        assert asked.hits == 1
        app.encrypt(key, b"data")

    error = caught.value
    assert (error.ckr, error.hsm_code, error.hsm, error.outcome) == (ckr, 0xA8, "hsm-2", "fail")
    assert [miss.hsms for miss in cluster.check.routing_misses()] == [("hsm-2",)]
    cluster.check.misses_retried()


def test_create_then_use_from_another_client_can_miss(make):
    """Issue number one of the field: "key not found" just after the create."""
    cluster = make(sdk=3)
    app, other = cluster.client("app"), cluster.client("other")
    app.generate_key("AES", 256, label="kek", min_srv=1, timeout_s=5)
    (found,) = other.find_keys(label="kek")
    with cluster.chaos.route_to("hsm-3"), pytest.raises(KeyNotOnHsm):
        other.encrypt(found, b"data")
    cluster.clock.run_until_idle()
    with cluster.chaos.route_to("hsm-3"):
        other.encrypt(found, b"data")


# -- sending calls somewhere -------------------------------------------------------------------------


def test_the_next_calls_can_be_sent_to_one_hsm(make):
    """`route_to` counts calls of all clients; then routing goes on where it was."""
    cluster = make(sdk=3)
    app, other = cluster.client("app"), cluster.client("other")
    sent = cluster.chaos.route_to("hsm-3", next=3)
    ask(app, 2)
    assert sent.hits == 2
    ask(other, 1)
    ask(app, 1)
    assert targets(cluster) == ["hsm-3", "hsm-3", "hsm-3", "hsm-1"]
    assert sent.hits == 3


def test_a_client_that_comes_later_is_sent_too(make):
    """A scenario is installed before the application's processes exist."""
    cluster = make(sdk=3)
    cluster.chaos.install("routed-to hsm-2")
    ask(cluster.client(), 2)
    assert targets(cluster) == ["hsm-2", "hsm-1"]


def test_the_end_of_the_block_forgets_what_is_left(make):
    """And only what is its own."""
    cluster = make(sdk=3)
    app = cluster.client()
    with cluster.chaos.route_to("hsm-3"):
        with cluster.chaos.route_to("hsm-2", next=5):
            ask(app, 2)
        ask(app, 1)
    assert targets(cluster) == ["hsm-3", "hsm-2", "hsm-1"]


def test_a_call_can_be_sent_to_an_hsm_that_is_down(make):
    """Then it meets what a call meets there."""
    cluster = make(sdk=3)
    app = cluster.client()
    cluster.chaos.crash("hsm-3")
    with cluster.chaos.route_to("hsm-3"), pytest.raises(Exception, match="hsm-3 refused random"):
        ask(app, 1)


def test_session_key_calls_are_not_sent_elsewhere(make):
    """They go where the key lives and are not counted."""
    cluster = make(sdk=3)
    app = cluster.client()
    dek = app.generate_key("AES", 256, token=False)
    with cluster.chaos.route_to("hsm-3") as sent:
        app.encrypt(dek, b"data")
        assert sent.hits == 0


@pytest.mark.parametrize("wrong", [0, -1, True, 1.5, "2"])
def test_how_many_calls_is_a_whole_number(make, wrong):
    """Anything else is refused."""
    with pytest.raises(UsageError, match="next is how many calls"):
        make(sdk=3).chaos.route_to("hsm-1", next=wrong)
