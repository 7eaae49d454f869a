"""Does a sweep notice a test that follows the wall clock, threads or dice: the real ones?"""

import re
from pathlib import Path

import pytest

from pytest_hsmcluster.history.difference import CAUSES

PAGE = (Path(__file__).parents[2] / "docs" / "determinism.md").read_text(encoding="utf-8")

HEAD = """
import threading, time, uuid
import pytest

@pytest.mark.hsm_cluster(hsms=2)
@pytest.mark.hsm_sweep("crash", points="hsm.commit")
"""

BODIES = {
    "wall clock": (
        """
def test_it(hsm_client, hsm_clock):
    hsm_clock.advance(time.time() % 1000)
    hsm_client.generate_key("AES", 256)
""",
        CAUSES[1],
    ),
    "threads": (
        """
def test_it(hsm_cluster):
    clients = [hsm_cluster.client(f"app-{number}") for number in range(4)]
    start, passed = threading.Barrier(4), []
    def race(client):
        for _ in range(20):
            start.wait()
            passed.append(client)
    threads = [threading.Thread(target=race, args=(client,)) for client in clients]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for client in passed:
        client.random(1)
""",
        CAUSES[0],
    ),
    "dice": (
        """
def test_it(hsm_client):
    for bit in f"{uuid.uuid4().int:0128b}":
        hsm_client.random(1) if bit == "1" else hsm_client.find_keys()
""",
        CAUSES[3],
    ),
}


@pytest.mark.parametrize("body, cause", BODIES.values(), ids=BODIES)
def test_what_does_not_repeat_itself_is_not_swept(run, body, cause):
    """The first event that differs is named, and the true cause is one of the two likeliest."""
    result = run(HEAD + body)
    result.assert_outcomes(passed=1, failed=1)
    told = result.stdout.str()
    assert "the test does not repeat itself, so no fault would strike where it is said to: event " in told
    assert cause in told.partition("likely causes: ")[2].split("; ")[:2]


def test_the_page_about_determinism_shows_what_is_said(run):
    """Its test is run, and what it prints is what stands there, but for what o'clock it is."""

    def block(language: str, word: str) -> str:
        fenced = re.findall(rf"^```{language}\n(.*?)^```", PAGE, flags=re.MULTILINE | re.DOTALL)
        return next(text for text in fenced if word in text)

    def timeless(text: str) -> str:
        return re.sub(r"\d+\.\d+s", "0s", text)

    result = run("import time\nimport pytest\n\n" + block("python", "hsm_sweep"))
    result.assert_outcomes(passed=1, failed=1)
    assert timeless(block("text", "sweep: ").rstrip("…\n ")) in timeless(result.stdout.str())
