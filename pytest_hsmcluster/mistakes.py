"""What is wrong with the markers of a module, before any of its tests runs?"""

import inspect
import warnings
from collections.abc import Iterable, Iterator
from typing import Any

import pytest

from . import extensions
from .arguments import check_arguments
from .checkers.check import CHECKS
from .errors import UsageError
from .faults.points import nearest
from .faults.spec import Scenario, parse_spec
from .markers import CHAOS, CLUSTER, OF_THE_TEST, SWEEP, about_links, chaos_specs, orders_asked, sweep_mark
from .options import SETTINGS
from .service.profile import field_names
from .subjects import Subject
from .sweep import Sweep
from .trial import arguments_of, real_time

_ARGUMENTS = tuple(
    name for name in inspect.signature(check_arguments).parameters if name not in ("overrides", "backup")
)
_TOGETHER = ("create_object_minimum_nodes", "config", "pinned_to")
"""Arguments that are right or wrong only together with others."""


def complaint(node: pytest.Item | pytest.Collector, subjects: Iterable[Subject]) -> str | None:
    """Return one text about all mistakes of these subjects, or None.

    Args:
        node: where they were found; gives the hooks and the settings.
        subjects: tests that share a mistake are named together.
    """
    named: dict[str, list[str]] = {}
    for subject in subjects:
        for mistake in dict.fromkeys(_mistakes(node, subject)):
            named.setdefault(mistake, []).append(subject.name)
    if not named:
        return None
    lines = [f"{len(named)} {'mistake' if len(named) == 1 else 'mistakes'} in markers of pytest-hsmcluster"]
    for mistake, names in named.items():
        more = f" and {len(names) - 3} more" if len(names) > 3 else ""
        lines += ["", ", ".join(names[:3]) + more, *(f"    {line}" for line in mistake.splitlines())]
    return "\n".join(lines)


def refuse_settings(config: pytest.Config) -> None:
    """Refuse options and ini values that only they can judge who know clusters, faults and checks.

    Raises:
        pytest.UsageError: all that is wrong with them.
    """
    settings = config.stash[SETTINGS]
    wrong = [f"--hsm-chaos: {text}" for text in _wrong_specs(settings.chaos, config.hook)]
    known = [*CHECKS, *extensions.checks(config.hook)]
    wrong += [f"ini hsm_checks: {text}" for text in _unknown_checks(settings.checks, known)]
    wrong += [f"ini hsm_{text}" for text in _wrong_arguments(dict(settings.defaults))]
    if wrong:
        raise pytest.UsageError("\n".join(wrong))


def _mistakes(node: pytest.Item | pytest.Collector, subject: Subject) -> Iterator[str]:
    found = subject.levels
    of_kind = {CLUSTER: _cluster_mark, CHAOS: _chaos_mark, SWEEP: _sweep_mark}
    for mark in (mark for level in found for mark in level):
        yield from of_kind[mark.name](mark)
        yield from _checks(mark, [*CHECKS, *extensions.checks(node.ihook)])
    if sweep_mark(found):
        yield from _not_sweepable(node, subject)
    if orders_asked(found) > 1:
        yield from _not_explorable(node, subject)
    if "hsm_app_time" in subject.fixtures:
        yield from _not_in_app_time(node, subject)
    if about_links(chaos_specs(found)):
        yield from _no_links(node, subject)
    yield from (f"{CHAOS}: {text}" for text in _wrong_specs(chaos_specs(found), node.ihook))
    yield from (f"{CLUSTER}: {text}" for text in _wrong_arguments(arguments_of(found, node)))


def _cluster_mark(mark: pytest.Mark) -> Iterator[str]:
    if mark.args:
        given = ", ".join(map(repr, mark.args))
        yield f"{CLUSTER}({given}): takes no positional argument; name it, such as hsms={mark.args[0]!r}"
    explore = mark.kwargs.get("explore")
    if explore is not None and (type(explore) is not int or explore < 1):
        yield f"{CLUSTER}: explore is how many hand-over orders of run() to try, 1 or more; got {explore!r}"


def _chaos_mark(mark: pytest.Mark) -> Iterator[str]:
    for name in mark.kwargs:
        if name != "checks":
            known = ("checks",)
            yield (
                f"{CHAOS}: unknown argument {name!r}{nearest(name, known)}; it takes specs and checks=; "
                "what belongs to a fault stands within its spec"
            )
    if not mark.args and mark.kwargs.get("checks") is None:
        yield f"{CHAOS}: says nothing; it takes faults or scenarios, such as 'kill-mid-create after_copies=2'"


def _sweep_mark(mark: pytest.Mark) -> Iterator[str]:
    known = [name for name in inspect.signature(Sweep.of).parameters if name != "effects"]
    for name in mark.kwargs:
        if name not in known:
            yield f"{SWEEP}: unknown argument {name!r}{nearest(name, known)}; it takes effects and {', '.join(known)}"
    try:
        Sweep.of(*mark.args, **{name: value for name, value in mark.kwargs.items() if name in known})
    except UsageError as error:
        yield from (f"{SWEEP}: {line}" for line in str(error).splitlines())


def _not_sweepable(node: pytest.Item | pytest.Collector, subject: Subject) -> Iterator[str]:
    if subject.testcase:
        yield (
            f"{SWEEP}: a method of a unittest.TestCase cannot be swept, for TestCase finds its method by the name that "
            "each case would change; make it a function, or a class that is no TestCase"
        )
    arguments = arguments_of(subject.levels, node)
    if real_time(arguments):
        yield (
            f"{SWEEP}: a sweep needs a virtual clock, for by a real one no two runs are the same; "
            f"got {_clock_asked(arguments)}"
        )


def _not_explorable(node: pytest.Item | pytest.Collector, subject: Subject) -> Iterator[str]:
    if subject.testcase:
        yield (
            f"{CLUSTER}: a method of a unittest.TestCase cannot explore, for TestCase finds its method by the name "
            "that each order would change; make it a function, or a class that is no TestCase"
        )
    if sweep_mark(subject.levels):
        yield (
            f"{CLUSTER}: explore= and {SWEEP} do not go together, for a sweep's faults strike at points that its clean "
            "run has passed, and in another order a test passes others: sweep in one order (explore=1 at the test), or "
            f"explore with given faults ({CHAOS} instead of {SWEEP})"
        )
    arguments = arguments_of(subject.levels, node)
    if real_time(arguments):
        yield (
            f"{CLUSTER}: explore= needs a virtual clock, for by a real one nobody has turns; "
            f"got {_clock_asked(arguments)}"
        )
    if "order" in arguments:
        yield (
            f"{CLUSTER}: order={arguments['order']!r} is one hand-over order, and explore= tries several, from 0 on: "
            "leave one of them out"
        )


def _not_in_app_time(node: pytest.Item | pytest.Collector, subject: Subject) -> Iterator[str]:
    if arguments_of(subject.levels, node).get("network") == "processes":
        yield (
            f"{CLUSTER}: hsm_app_time and network='processes' do not go together, for processes live in real time: "
            "leave out hsm_app_time (clock_rate=20 lets the cluster's own time-outs pass twenty times faster), "
            "or network='processes'"
        )


def _no_links(node: pytest.Item | pytest.Collector, subject: Subject) -> Iterator[str]:
    if arguments_of(subject.levels, node).get("network") != "processes":
        asked = [spec for spec in chaos_specs(subject.levels) if about_links([spec])]
        yield (
            f"{CHAOS}: {', '.join(map(repr, asked))} needs a real Toxiproxy between applications and HSM processes: "
            f'mark the test with {CLUSTER}(network="processes"); on a simulated network take partition, or delay and '
            "drop at wire.request and wire.response"
        )


def _clock_asked(arguments: dict[str, Any]) -> str:
    if arguments.get("network") == "processes":
        return "network='processes', whose clock is real: leave that out here"
    return "clock='real'"


def _checks(mark: pytest.Mark, known: list[str]) -> Iterator[str]:
    given = mark.kwargs.get("checks")
    if given is None:
        return
    if isinstance(given, str) or not isinstance(given, list | tuple):
        yield f'{mark.name}: checks is a tuple of names, such as checks=("durable",); got {given!r}'
        return
    yield from (f"{mark.name}: {text}" for text in _unknown_checks(given, known))


def _wrong_specs(specs: Iterable[str], hook: Any) -> Iterator[str]:
    scenarios = extensions.scenarios(hook)
    for spec in specs:
        try:
            parsed = parse_spec(spec, scenarios)
            if isinstance(parsed, Scenario):
                scenarios[parsed.name].arguments(parsed)
        except UsageError as error:
            yield str(error)


def _unknown_checks(given: Iterable[Any], known: list[str]) -> Iterator[str]:
    """Yield one sentence for each name that is no check's."""
    for name in given:
        if name not in known:
            yield f"unknown check {name!r}{nearest(str(name), known)}; checks are {', '.join(known)}"


def _wrong_arguments(arguments: dict[str, Any]) -> Iterator[str]:
    """Yield everything that `HsmCluster` would refuse about its arguments, unknown ones first."""
    known = [*_ARGUMENTS, *OF_THE_TEST, *field_names()]
    unknown = [name for name in arguments if name not in known]
    for name in unknown:
        yield (
            f"unknown argument {name!r}{nearest(name, known)}; it takes {', '.join([*_ARGUMENTS, *OF_THE_TEST])}, "
            "and fields of Profile by name"
        )
    fit = {name: value for name, value in arguments.items() if name not in unknown}
    # Each alone first, so that of several wrong values all are told; whether the minimum fits, all together decide.
    wrong = [error for name, value in fit.items() if name not in _TOGETHER if (error := _refusal({name: value}))]
    yield from wrong
    if not wrong and (error := _refusal(fit)):
        yield error


def _refusal(arguments: dict[str, Any]) -> str | None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # they are issued when the cluster is made, and belong to the test
        try:
            check_arguments(**arguments)
        except UsageError as error:
            return str(error)
    return None
