"""Does the report say how each line of an application retries?"""

import re

import pytest

from pytest_hsmcluster import ClusterError, HsmCluster
from pytest_hsmcluster.checkers.attempts import Attempt, Chain
from pytest_hsmcluster.checkers.retry_report import RetryReport, RetrySite, curve, retry_report
from pytest_hsmcluster.history.places import Place

SIGN = Place("src/vault.py", 12, "Vault.sign", False)
S = 1_000_000_000


def chain(*waits, healed=True, place=SIGN, error="HsmBusy", operation="sign", application="app", blind=False, sends=2):
    """Return what took an attempt, and one more after each wait; each attempt a second, and an error but the last."""
    attempts, now = [], 0
    for number in range(len(waits) + 1):
        last = number == len(waits) and healed
        attempts.append(
            Attempt(
                op=number,
                place=place,
                key="key-1",
                began_ns=now,
                ended_ns=now + S,
                outcome="ok" if last else "fail",
                error=None if last else error,
                hsm=None if last else "hsm-1",
                sends=sends,
                incurable=not last and error == "LoginFailed",
                blind=blind and number > 0,
            )
        )
        now += S + round(waits[number] * S) if number < len(waits) else 0
    return Chain(operation, application, "key-1", "kek", tuple(attempts))


def row(*chains):
    return RetrySite(SIGN, "sign", "app", chains)


def test_attempts_are_typical_and_most():
    """The median is one that there was."""
    site = row(chain(), chain(), chain(1, 2, 4))
    assert (site.calls, site.typical_attempts, site.most_attempts) == (3, 1, 4)
    assert site.retried == (site.chains[2],)
    assert row(chain(), chain(1)).typical_attempts == 2


def test_curve_is_the_median_wait_before_each_attempt():
    """Of those who came so far."""
    site = row(chain(), chain(0.1), chain(0.3, 2), chain(0.2, 4, 8))
    assert site.waits_ns == (S // 5, 4 * S, 8 * S)


@pytest.mark.parametrize(
    ("waits", "text"),
    [
        ((), "–"),
        ((0,), "0 s"),
        ((0.1, 0.2, 0.4, 0.8), "0.1 0.2 0.4 0.8 s"),
        ((0.1, 0.2, 0.4, 0.8, 1.6), "0.1 0.2 0.4 … 1.6 s"),
        ((1 / 3, 90.0), "0.333 90 s"),
    ],
)
def test_curve_is_short(waits, text):
    assert curve([round(wait * S) for wait in waits]) == text


@pytest.mark.parametrize(
    ("chains", "backs_off"),
    [
        ([chain()], None),
        ([chain(0)], False),
        ([chain(0, 0, 0)], False),
        ([chain(0.0001)], False),
        ([chain(0, 1)], True),
        ([chain(1, 1, 1)], True),
        ([chain(1, 0.5)], True),
        ([chain(4, 2, 1)], False),
        ([chain(4, 2), chain(4, 2)], False),
        ([chain(4, 2), chain(4, 6)], True),
    ],
    ids=lambda value: "; ".join(str(len(one.attempts)) for one in value) if isinstance(value, list) else str(value),
)
def test_backing_off_is_waiting_and_not_less_and_less(chains, backs_off):
    """A constant pause is one; a single shorter one may be jitter."""
    assert row(*chains).backs_off is backs_off


@pytest.mark.parametrize(
    ("chains", "jitter"),
    [
        ([chain(1, 2)], None),
        ([chain(1), chain(1)], False),
        ([chain(1, 2), chain(1.3, 2.6)], True),
        ([chain(1), chain(1, 2)], False),
        ([chain(1), chain(1.09)], False),
        ([chain(0), chain(0.001)], False),
        ([chain(0), chain(0.1)], True),
        ([chain(1), chain(1), chain(1.5)], False),
        ([chain(1), chain(1.2), chain(1.5)], True),
    ],
)
def test_jitter_is_seen_in_two_calls_only(chains, jitter):
    """At the same number of an attempt, and in half of them; less than a tenth, or a millisecond, is none."""
    assert row(*chains).jitter is jitter


def test_storm_is_commands_per_call():
    assert row(chain(), chain(1, 1)).storm == 4.0


def test_healed_counts_those_that_met_an_error():
    site = row(chain(), chain(1), chain(1, healed=False))
    assert (site.healed, len(site.failed)) == (1, 2)


def test_what_was_retried_in_vain_is_named():
    """Only what never became ok."""
    assert row(chain(1, healed=False, error="LoginFailed")).in_vain == ("LoginFailed",)
    assert row(chain(1, error="LoginFailed")).in_vain == ()
    assert row(chain(healed=False, error="LoginFailed")).in_vain == ()
    assert row(chain(1, healed=False)).in_vain == ()


def test_rows_are_lines_and_operations():
    """In the order of the first call; of a test's own lines those that retry."""
    test = Place("test_vault.py", 3, "test_it", True)
    other = SIGN._replace(line=30)
    report = retry_report(
        [
            chain(place=test),
            chain(place=other),
            chain(),
            chain(1),
            chain(operation="encrypt"),
            chain(1, place=test._replace(line=4)),
            chain(place=None),
            chain(place=None, application="batch"),
        ]
    )
    assert [
        (site.place and site.place.line, site.operation, site.application, site.calls) for site in report.sites
    ] == [
        (30, "sign", "app", 1),
        (12, "sign", "app", 2),
        (12, "encrypt", "app", 1),
        (4, "sign", "app", 1),
        (None, "sign", "app", 1),
        (None, "sign", "batch", 1),
    ]
    assert len(report.chains) == 8


def test_it_prints_as_a_table():
    """Columns stand under their headings, numbers to the right."""
    report = retry_report(
        [
            *[chain() for _ in range(10)],
            chain(0.1, 0.2),
            chain(0.15, 0.3, healed=False),
            chain(0, place=SIGN._replace(line=40, function="Vault.make"), operation="generate_key", blind=True),
            chain(1, place=None, operation="login", application="batch", healed=False, error="LoginFailed"),
        ]
    )
    assert str(report).splitlines() == [
        "call site                     operation       calls  attempts      waits       backs off  jitter  storm  "
        "healed  in vain      blind",
        "src/vault.py:12 (Vault.sign)  sign               12  1, at most 3  0.15 0.3 s  yes        yes       2.7  "
        "1 of 2  –                –",
        "src/vault.py:40 (Vault.make)  generate_key        1  2             0 s         no         –         4.0  "
        "1 of 1  –                1",
        "not known                     login by batch      1  2             1 s         yes        –         4.0  "
        "0 of 1  LoginFailed      –",
    ]


@pytest.mark.parametrize("columns", range(80, 161, 10))
def test_table_fits_the_terminal(columns):
    """From 80 columns on no line is longer, no cell is broken, and all that there is to say is said."""
    deep = Place("src/payments/vault/rotation/hardened.py", 1234, "HardenedVault._rotate_key", False)
    chains = [
        chain(0.1, 0.2, 0.4, 0.8, 1.6, place=deep, operation="generate_key", blind=True),
        chain(0, place=deep, operation="generate_key", error="LoginFailed", healed=False),
        chain(),
    ]
    report = retry_report(chains)
    lines = report.table(columns).splitlines()
    assert max(map(len, lines)) <= columns
    for site in report.sites:
        cells = [cell for cell in site.cells() if cell != "–"]
        assert all(any(cell in line for line in lines) for cell in cells)


def test_narrow_table_says_each_cell_with_its_heading():
    report = retry_report([chain(0.1, 0.2), chain(0.1, error="LoginFailed", healed=False)])
    assert report.table(80).splitlines() == [
        "src/vault.py:12 (Vault.sign)",
        "  sign, calls 2, attempts 3, waits 0.1 0.2 s, backs off yes, jitter no,",
        "  storm 5.0, healed 1 of 2, in vain LoginFailed",
    ]


def test_nothing_called_is_said():
    assert str(RetryReport((), ())) == "retries: the application called nothing"


def test_a_run_is_told_as_it_was():
    """Real calls: storm counts the client's own retries too."""
    with HsmCluster(3, sdk=5, seed=1) as cluster:
        client = cluster.client("app")
        mac = client.generate_key("GENERIC_SECRET", 256, label="mac")
        cluster.chaos.inject("fail 0xBB @ hsm.receive command=sign during=0s..3s")

        for pause in (1, 2, 4):
            try:
                client.sign(mac, b"data")
                break
            except ClusterError:
                cluster.clock.advance(pause)
        [site] = [site for site in cluster.check.retry_report().sites if site.operation == "sign"]
        assert (site.most_attempts, site.waits_ns, site.healed, site.backs_off) == (3, (S, 2 * S), 1, True)
        assert site.storm == 9.0, "four commands, four, and one"
        assert re.fullmatch(r".*test_retry_report\.py:\d+ \(test_a_run_is_told_as_it_was\)", str(site.place))
