"""How is a story written down, so that others can play it?

As a complete test to paste, which says what is called and what strikes, one line each; and as specs, with which the
same happens to a test that makes the same calls.
"""

import dataclasses
import textwrap
from collections.abc import Iterable, Iterator
from enum import Enum
from typing import Any

from ..errors import ClusterError, UsageError
from ..faults.effects import duration_text
from ..faults.injector import Injection
from ..faults.spec import Fault, Scenario, parse_scenario
from ..faults.when import value_of
from ..hardships import DURING, Hardship
from ..history.events import Kind
from .playing import Played, Told, play
from .story import CHAOS, CLOCK, CLUSTER, Ref, Step, Story, is_trouble, source

FIXTURES = (CLUSTER, CHAOS, CLOCK)
PACKAGE = "pytest_hsmcluster"
LONG = 100
"""Columns that a line of a marker may have."""


def regression_test(played: Played, name: str = "test_story", imports: Iterable[str] = ()) -> str:
    """Return a complete pytest module with one test, in which the same happens and the same is found.

    It needs neither a seed, unless something was drawn by lot, nor Hypothesis, nor anything else of a campaign: what
    struck is spelled out, what did not is left out, and so are steps that made no sense.

    Args:
        played: what was found.
        name: of the test.
        imports: further lines for the top of the module.
    """
    story, told = played.story, _needed(played.told)
    used = {ref for one in told for ref in one.step.refs}
    body = [line for one in told for line in _lines(one, used)] or ["pass"]
    findings = [line for text in played.findings.values() for line in text.splitlines()]
    lines = ["from contextlib import suppress", ""] if any(_is_met(one) for one in told) else []
    lines += ["import pytest", ""]
    if others := [*_imports(told), *imports]:
        lines += [*others, ""]
    lines += ["", *_markers(story, told)]
    lines.append(f"def {name}({', '.join([one for one in FIXTURES if one in used] or [CLUSTER])}):")
    lines += [*_docstring(findings), *(f"    {line}" for line in body), ""]
    return "\n".join(lines)


def specs(played: Played) -> tuple[str, ...]:
    """Return specs for `--hsm-chaos` with which the same is found, installed before the story's first step.

    They were tried: nothing comes back where no specs that strike from the beginning of a test do the same.
    """
    told = [one for one in _needed(played.told) if is_trouble(one.step)]
    calls = tuple(one.step for one in played.told if not is_trouble(one.step) and not one.refused)
    as_written = tuple(_spec(one) for one in told if one.step.on == CHAOS)
    placed = tuple(spec for one in told if one.step.on == CHAOS for spec in _placed(one, told, played))
    for found in dict.fromkeys((as_written, placed)):
        installed = tuple(Step(CHAOS, "install", (spec,)) for spec in found)
        again = play(dataclasses.replace(played.story, steps=(*installed, *calls)))
        refused = any(one.refused for one in again.told)
        if again.findings.keys() == played.findings.keys() and not refused and found:
            return found
    return ()


# -- lines ------------------------------------------------------------------------------


def _needed(told: Iterable[Told]) -> list[Told]:
    """Return the steps without those that made no sense, and without faults and hardships that did nothing."""
    made = [one for one in told if not one.refused]
    idle = {one.step.gives for one in made if is_trouble(one.step) and one.step.gives and _did_nothing(one.result)}
    return [one for one in made if not is_trouble(one.step) or not idle & {one.step.on, one.step.gives}]


def _did_nothing(trouble: Any) -> bool:
    if isinstance(trouble, Injection):
        # Where dice are rolled, even a fault that never strikes says which dice its twins roll.
        return not trouble.hits and trouble.fault.when.chance is None
    if isinstance(trouble, Hardship):
        return not trouble.hits and not any(one.hits for one in trouble.injections)
    return False


def _lines(told: Told, used: set[str]) -> Iterator[str]:
    step = told.step if told.step.gives in used else dataclasses.replace(told.step, gives=None)
    line = str(step)
    missed = isinstance(told.result, Injection | Hardship) and not told.result.hits
    if _is_met(told):
        caught, name = _as_caught(type(told.error)).__name__, type(told.error).__name__
        yield f"with suppress({caught}):" + (f"  # {name}" if name != caught else "")
        yield f"    {line}"
    elif missed and step.gives is None:
        yield f"{CHAOS}.allow_miss({line})"
    else:
        yield line
        if missed:
            yield f"{CHAOS}.allow_miss({step.gives})"


def _markers(story: Story, told: Iterable[Told]) -> Iterator[str]:
    arguments = dict(story.shape.arguments)
    if _by_lot(story, told):
        arguments |= {"seed": story.seed, "keys": "seeded"}
    arguments["checks"] = story.checks
    given = [f"{name}={source(value)}" for name, value in arguments.items()]
    line = f"@pytest.mark.hsm_cluster({', '.join(given)})"
    if story.shape.minimum == story.shape.hsms > 1:
        yield f'@pytest.mark.filterwarnings("ignore::{PACKAGE}.ConfigWarning")'
    if len(line) <= LONG:
        yield line
    else:
        yield from ("@pytest.mark.hsm_cluster(", *(f"    {one}," for one in given), ")")


def _by_lot(story: Story, told: Iterable[Told]) -> bool:
    """Whether anything in the story is drawn."""
    rolled = any(isinstance(one.result, Injection) and one.result.fault.when.chance is not None for one in told)
    return rolled or ("routing", "random") in story.shape.settings


def _docstring(findings: list[str]) -> Iterator[str]:
    if not findings:
        return
    lines = [part for line in findings for part in textwrap.wrap(line, LONG, break_long_words=False)]
    lines = [line.replace("\\", "\\\\").replace('"""', "'''") for line in lines]
    if len(lines) == 1:
        yield f'    """{lines[0]}"""'
    else:
        yield from (f'    """{lines[0]}', *(f"    {line}" for line in lines[1:]), '    """')


def _imports(told: Iterable[Told]) -> list[str]:
    """Return the lines that import what the steps name."""
    kinds = [type(one.error) for one in told if _is_met(one)]
    names = {kind: _as_caught(kind) for kind in kinds}
    for one in told:
        for value in (*one.step.args, *(value for _, value in one.step.options), *one.step.equals):
            names |= {kind: kind for kind in _kinds(value)}
    own = sorted({kind.__name__ for kind in names.values() if kind.__module__.partition(".")[0] == PACKAGE})
    others = sorted(
        {
            f"from {kind.__module__} import {kind.__name__}"
            for kind in names.values()
            if kind.__module__.partition(".")[0] not in (PACKAGE, "builtins")
        }
    )
    return [*([f"from {PACKAGE} import {', '.join(own)}"] if own else []), *others]


def _as_caught(kind: type) -> type:
    """Return the class that an application catches: an answer of the cluster may be another one tomorrow."""
    return ClusterError if issubclass(kind, ClusterError) else kind


def _is_met(told: Told) -> bool:
    return told.met and not told.refused


def _kinds(value: Any) -> Iterator[type]:
    """Yield the classes whose names are in the source of a value."""
    if isinstance(value, Ref | Fault | Scenario):
        return
    if isinstance(value, dict):
        for pair in value.items():
            for one in pair:
                yield from _kinds(one)
    elif isinstance(value, Enum) or dataclasses.is_dataclass(value):
        yield value if isinstance(value, type) else type(value)


# -- specs ------------------------------------------------------------------------------


def _spec(told: Told) -> str:
    return str(told.step.args[0])


def _placed(told: Told, troubles: Iterable[Told], played: Played) -> list[str]:
    """Return specs that do from a test's beginning what a trouble did that began in its middle."""
    if isinstance(told.result, Injection):
        return _pinned(told, played)
    spec = parse_scenario(_spec(told))
    end_ns = next((one.at_ns for one in troubles if one.step.on == told.step.gives and one.step.does == "end"), None)
    if told.at_ns == 0 and end_ns is None:
        return [str(spec)]
    arguments = dict(spec.arguments)
    first, last = 0, _AGES_NS
    if DURING in arguments:
        window = value_of(DURING, arguments.pop(DURING))
        if not isinstance(window, tuple):
            raise UsageError(f"{spec}: during= is a window")
        first, last = window
    last = told.at_ns + last if end_ns is None else min(told.at_ns + last, end_ns)
    window_text = f"{duration_text(told.at_ns + first)}..{duration_text(last)}"
    return [str(dataclasses.replace(spec, arguments=(*arguments.items(), (DURING, window_text))))]


def _pinned(told: Told, played: Played) -> list[str]:
    """Return a spec for each time that a fault struck, which counts the passages from the beginning."""
    fault, records, found = told.result.fault, played.history.records, []
    for index in range(told.record, len(records)):
        if records[index][0] == Kind.INJECT and records[index][3] == str(fault):
            # A passage is written just before what strikes there: kind, instant, operation, point, what it is about.
            _, _, _, point, op, command, hsm, *_ = records[index - 1]
            known = {"op": op, "command": command, "hsm": hsm}
            given = {key: value for key, value in known.items() if value is not None and key in fault.point.facts}
            nth = sum(one[0] == Kind.REACH and one[3:7] == (point, op, command, hsm) for one in records[:index])
            when = dataclasses.replace(
                fault.when, **given, nth=nth, per=None, during=None, chance=None, client=None, key=None, user=None
            )
            found.append(str(dataclasses.replace(fault, when=when)))
    return found


_AGES_NS = 24 * 3600 * 1_000_000_000
