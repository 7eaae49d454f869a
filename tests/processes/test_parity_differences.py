"""What stays different between the two networks?  Each of it stands in `docs/fidelity.md`."""

from tests.processes.parity import NETWORKS, told


def test_late_answers_pass_no_wire_with_processes():
    """A client that gives up closes its connection; in simulated time the answer comes and is discarded."""

    def tell(on):
        app = on.app()
        key = on(app.generate_key, "AES", 256, label="key")
        passing = on.chaos.inject("pass @ wire.response command=sign", may_miss=True)
        with on.chaos.inject("hold @ hsm.reply command=sign nth=1"):
            on(app.sign, key, b"data")
        on.settle()
        on.note("hits", passing.hits)

    hits = [told(tell, network, request_timeout_s=5)["note 4"] for network in NETWORKS]

    assert hits == [("hits", 1), ("hits", 0)]


def test_paused_process_takes_no_new_connection():
    """A simulated client is connected to every HSM from the start: what it asks is carried out later."""

    def tell(on):
        with on.chaos.pause("hsm-1"):
            on.app("late")
        on.settle()

    simulated, processes = (told(tell, network, request_timeout_s=5) for network in NETWORKS)

    assert simulated["note 1"] == processes["note 1"]
    assert [entry[2] for entry in simulated["hsm-1: audit log"]] == ["CN_LOGIN"]
    assert processes["hsm-1: audit log"] == []


def test_work_of_processes_takes_no_simulated_time():
    """So that a queue is long only while a fault holds somebody in it."""

    def tell(on):
        app, other = on.app(), on.app("other")
        with on.chaos.pause("hsm-1"), on.chaos.route_to("hsm-1", next=2):
            on(app.generate_key, "AES", 256, label="one")
            on(other.generate_key, "AES", 256, label="two")
        on.settle()

    logs = [
        [entry[4] for entry in told(tell, network, request_timeout_s=5, queue_limit=1)["hsm-1: audit log"]]
        for network in NETWORKS
    ]

    assert 0xBB in logs[0]
    assert 0xBB not in logs[1]
