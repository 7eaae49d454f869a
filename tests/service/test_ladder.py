"""Which rungs does a create pass, and what is true when it falls silent at one of them?"""

import pytest

from pytest_hsmcluster import ClusterError, HsmCluster, Kind, Point

COMMAND = [
    Point.CLIENT_SEND,
    Point.WIRE_REQUEST,
    Point.HSM_RECEIVE,
    Point.HSM_AUTHORIZE,
    Point.HSM_EXECUTE,
    Point.HSM_COMMIT,
    Point.HSM_REPLY,
    Point.WIRE_RESPONSE,
    Point.CLIENT_RECEIVE,
]
DONE = (Point.HSM_REPLY, Point.WIRE_RESPONSE, Point.CLIENT_RECEIVE)
SILENT = ("hold", "drop", "corrupt", "crash", "destroy")
RUNGS = [
    pytest.param(point, effect, id=f"{effect}-{point}")
    for point in (Point.CLIENT_ROUTE, *COMMAND)
    for effect in SILENT
    if effect in point.effects
]
COPY_RUNGS = [one for one in RUNGS if one.values[0] is not Point.CLIENT_ROUTE and one.values[0].place != "client"]


@pytest.fixture
def ladder(build):
    """Return a function that builds a cluster in which nothing but the create happens."""

    def make(**arguments):
        return build(3, sweep=False, routing="pinned", pinned_to="hsm-1", **arguments)

    return make


def rungs(cluster, op):
    return [(e.point, e.command, e.hsm) for e in cluster.history.of(Kind.REACH) if e.op == op]


def told(cluster):
    return [name for event in cluster.history.of(Kind.OK) for name in event.keys]


def test_every_rung_of_a_create_writes_one_event_in_order(ladder):
    """The path of one call: ten rungs on the source, then an extraction, and ten for each copy."""
    cluster = ladder()
    client = cluster.client()

    client.generate_key("AES", 256, label="payroll")

    def command(name, hsm):
        return [(point, name, hsm) for point in COMMAND]

    op = cluster.history.last.op
    passed = rungs(cluster, op)
    assert passed[0][0] == Point.CLIENT_ROUTE
    assert passed[1:] == [
        *command("generate_key", "hsm-1"),
        (Point.CLIENT_CLONE, None, "hsm-2"),
        *command("extract_masked", "hsm-1"),
        *command("insert_masked", "hsm-2"),
        (Point.CLIENT_CLONE, None, "hsm-3"),
        *command("insert_masked", "hsm-3"),
        (Point.CLIENT_REPORT, None, "hsm-1"),
    ]


@pytest.mark.parametrize("op", ["login", "encrypt", "sign", "delete_key", "find_keys", "logout"])
def test_every_command_passes_the_same_rungs(ladder, op):
    """Rungs 2 to 10 are the same for every command on every HSM."""
    cluster = ladder()
    client = cluster.client(login=False)
    client.login(cluster.default_user, cluster.default_password)
    key = client.generate_key("AES", 256, label="k")
    secret = client.generate_key("GENERIC_SECRET", 256, label="s")
    {
        "login": lambda: cluster.client("other"),
        "encrypt": lambda: client.encrypt(key, b"data"),
        "sign": lambda: client.sign(secret, b"data"),
        "delete_key": lambda: client.delete_key(key),
        "find_keys": lambda: client.find_keys(label="k"),
        "logout": client.logout,
    }[op]()

    passed = [one for one in rungs(cluster, cluster.history.last.op) if one[1] == op and one[0] in COMMAND]

    asked = list(dict.fromkeys(hsm for _, _, hsm in passed))
    assert asked
    for hsm in asked:
        assert [point for point, _, at in passed if at == hsm] == COMMAND


@pytest.mark.parametrize(("point", "effect"), RUNGS)
def test_silence_before_the_reply_leaves_no_key_and_after_it_a_key_that_nobody_was_told_of(
    ladder, holders, point, effect
):
    """Up to `hsm.commit` there is no key; from `hsm.reply` on there is one, unless its HSM is lost with it."""
    cluster = ladder()
    client = cluster.client()
    condition = "op=generate_key" if point is Point.CLIENT_ROUTE else "command=generate_key"
    cluster.chaos.inject(f"{effect} @ {point} {condition}")

    with pytest.raises(ClusterError) as caught:
        client.generate_key("AES", 256, label="payroll")

    expected = ["hsm-1"] if point in DONE and effect != "destroy" else []
    assert holders(cluster, "payroll") == expected
    assert caught.value.outcome == "info"
    assert cluster.history.last.kind is Kind.INFO
    assert told(cluster) == []


@pytest.mark.parametrize(("point", "effect"), COPY_RUNGS)
def test_silence_during_an_insert_leaves_a_copy_only_from_the_reply_on(ladder, holders, point, effect):
    """Rungs 2 to 10 mean the same for a copy: it is there once it was committed, whoever heard of it."""
    cluster = ladder()
    client = cluster.client()
    cluster.chaos.inject(f"{effect} @ {point} command=insert_masked hsm=hsm-2")

    client.generate_key("AES", 256, label="payroll")

    copied = point in DONE and effect != "destroy"
    assert holders(cluster, "payroll") == (["hsm-1", "hsm-2", "hsm-3"] if copied else ["hsm-1", "hsm-3"])


@pytest.mark.parametrize(
    ("spec", "there", "kind"),
    [
        ("drop @ client.clone", ["hsm-1"], Kind.OK),
        ("fail CKR_DEVICE_ERROR @ client.clone", ["hsm-1"], Kind.OK),
        ("crash @ client.clone nth=1", ["hsm-1"], Kind.INFO),
        ("crash @ client.clone nth=2", ["hsm-1", "hsm-2"], Kind.INFO),
        ("destroy @ client.clone nth=1", ["hsm-1", "hsm-3"], Kind.OK),
    ],
)
def test_silence_at_a_clone_leaves_a_key_on_too_few_hsms(ladder, holders, spec, there, kind):
    """Rung 11: the copies that were made before stay."""
    cluster = ladder()
    client = cluster.client()
    cluster.chaos.inject(spec)

    if kind is Kind.OK:
        client.generate_key("AES", 256, label="payroll")
    else:
        with pytest.raises(ClusterError):
            client.generate_key("AES", 256, label="payroll")

    assert holders(cluster, "payroll") == there
    assert cluster.history.last.kind is kind


@pytest.mark.parametrize("effect", ["drop", "crash", "fail CKR_DEVICE_ERROR"])
def test_silence_at_the_cleanup_leaves_an_orphan(ladder, holders, effect):
    """Rung 12: too few copies, and the leftovers stay where they are."""
    cluster = ladder(create_object_minimum_nodes=2)
    client = cluster.client()
    cluster.chaos.fail_clone()
    cluster.chaos.inject(f"{effect} @ client.cleanup")

    with pytest.raises(ClusterError) as caught:
        client.generate_key("AES", 256, label="payroll")

    assert holders(cluster, "payroll") == ["hsm-1"]
    assert caught.value.outcome == "info"
    assert [finding.label for finding in cluster.check.orphan_keys()] == ["payroll"]


def test_silence_at_the_report_leaves_a_key_on_all_hsms_that_nobody_knows(ladder, holders):
    """Rung 13: everything was done, and the application is gone before it hears of it."""
    cluster = ladder()
    client = cluster.client()
    cluster.chaos.inject("crash @ client.report")

    with pytest.raises(ClusterError):
        client.generate_key("AES", 256, label="payroll")

    assert holders(cluster, "payroll") == ["hsm-1", "hsm-2", "hsm-3"]
    assert told(cluster) == []
    assert [finding.label for finding in cluster.check.orphan_keys()] == ["payroll"]


def test_fast_path_and_heap_give_one_journal():
    """Running ahead of the heap changes nothing that is written down."""

    def story(run_ahead):
        with HsmCluster(3, sdk=3, seed=5) as cluster:
            cluster._scheduler.run_ahead = run_ahead
            client = cluster.client()
            key = client.generate_key("AES", 256, label="a")
            cluster.chaos.crash("hsm-2")
            client.generate_key_pair("EC", "secp256r1", label="b")
            cluster.clock.advance(200)
            cluster.chaos.restart("hsm-2")
            cluster.chaos.replace("hsm-3")
            cluster.clock.advance(500)
            client.delete_key(key)
        return cluster.history.digest()

    assert story(True) == story(False)


def test_pair_is_cloned_half_by_half(ladder):
    """Both halves are extracted once, and inserted on each HSM, the public one first."""
    cluster = ladder()
    client = cluster.client()
    pair = client.generate_key_pair("EC", "secp256r1", label="pair")

    asked = [(e.command, e.hsm) for e in cluster.history.of(Kind.REACH) if e.point == "hsm.commit" and e.op == 2]

    assert asked == [
        ("generate_key_pair", "hsm-1"),
        ("extract_masked", "hsm-1"),
        ("extract_masked", "hsm-1"),
        ("insert_masked", "hsm-2"),
        ("insert_masked", "hsm-2"),
        ("insert_masked", "hsm-3"),
        ("insert_masked", "hsm-3"),
    ]
    inserted = [e.handles[0] for e in cluster.hsm("hsm-3").audit_log if e.number == 0xF1]
    assert inserted == [pair.public.number, pair.private.number]


def test_half_a_pair_is_no_copy(ladder, holders):
    """An HSM that got one half only does not count, and is cleaned when there are too few."""
    cluster = ladder(create_object_minimum_nodes=2)
    client = cluster.client()
    cluster.chaos.inject("fail CKR_DEVICE_ERROR @ hsm.execute command=insert_masked hsm=hsm-2 nth=2")
    cluster.chaos.inject("drop @ client.clone hsm=hsm-3")

    with pytest.raises(ClusterError, match="reached 1 of 2 HSMs"):
        client.generate_key_pair("EC", "secp256r1", label="pair")

    assert holders(cluster, "pair") == []
    assert cluster.history.last.kind is Kind.FAIL


CREATES = {
    "generate_key": lambda client, kek, blob: client.generate_key("AES", 256, label="new"),
    "generate_key_pair": lambda client, kek, blob: client.generate_key_pair("EC", "secp256r1", label="new"),
    "import_key": lambda client, kek, blob: client.import_key("AES", bytes(range(32)), label="new"),
    "unwrap_key": lambda client, kek, blob: client.unwrap_key(blob, with_key=kek, kind="AES", label="new"),
}


@pytest.mark.parametrize("op", CREATES)
@pytest.mark.parametrize("sdk", [3, 5])
def test_every_create_is_cloned_and_reported(build, holders, op, sdk):
    """Generate, import, unwrap: the same way for both SDKs."""
    cluster = build(3, sweep=False, sdk=sdk)
    client = cluster.client()
    kek = client.generate_key("AES", 256, label="kek")
    blob = client.wrap_key(client.import_key("AES", bytes(32), label="old"), with_key=kek)
    CREATES[op](client, kek, blob)
    number = cluster.history.last.op

    points = [e.point for e in cluster.history.of(Kind.REACH) if e.op == number and e.point.startswith("client.")]
    halves = 2 if op == "generate_key_pair" else 1
    assert points.count("client.clone") == 2
    assert points[-1] == "client.report"
    assert len(holders(cluster, "new")) == 3 * halves


def test_session_key_passes_no_clone_and_no_report(build):
    """It stays where it is made."""
    cluster = build(3, sweep=False)
    client = cluster.client()
    client.generate_key("AES", 256, label="s", token=False)
    number = cluster.history.last.op

    points = [e.point for e in cluster.history.of(Kind.REACH) if e.op == number]
    assert "client.clone" not in points
    assert sum(len(hsm.keys) for hsm in cluster.hsms) == 1
