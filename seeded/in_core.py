"""Which mistakes can be made in faults, chaos and simulated time?"""

from .mistake import Mistake

INJECTOR = "faults/injector.py"
SCHEDULER = "sim/scheduler.py"

IN_CORE = (
    Mistake(
        "nth-and-all-after",
        INJECTOR,
        "            if count != when.nth:\n",
        "            if count < when.nth:\n",
        "a fault strikes at the nth passage and at every one after it",
    ),
    Mistake(
        "nth-from-zero",
        INJECTOR,
        "self._counts.get(scope, 0) + 1",
        "self._counts.get(scope, -1) + 1",
        "a fault strikes one passage too late",
    ),
    Mistake(
        "per-is-ignored",
        INJECTOR,
        "scope = getattr(passage, when.per) if when.per else None",
        "scope = getattr(passage, when.per) if when.per == 'op_name' else None",
        "the count never starts anew",
    ),
    Mistake(
        "the-last-fault-wins",
        INJECTOR,
        "            elif winner is None:\n",
        "            else:\n",
        "of two faults at a point the one installed last is performed",
    ),
    Mistake(
        "held-for-ever",
        INJECTOR,
        "                self._at[injection.fault.point].remove(injection)\n                self.let_pass(injection)\n",
        "                self._at[injection.fault.point].remove(injection)\n",
        "whoever a fault holds is not let go at its end",
    ),
    Mistake(
        "faults-do-not-end",
        INJECTOR,
        "                self._at[injection.fault.point].remove(injection)\n                self.let_pass(injection)\n",
        "                self.let_pass(injection)\n",
        "a fault that was taken out still strikes",
    ),
    Mistake(
        "windows-count-from-the-beginning",
        INJECTOR,
        "when.open_at(now_ns - self._installed_ns)",
        "when.open_at(now_ns)",
        "`during=` counts from the cluster's beginning, not from the fault's",
    ),
    Mistake(
        "kill-one-copy-later",
        "chaos.py",
        'When(nth=after_copies, per="op")',
        'When(nth=after_copies + 1, per="op")',
        "the HSM dies with one copy more than was said",
    ),
    Mistake(
        "first-end-lifts-all",
        "chaos.py",
        "if not any(other.name == name and hsm in other.arguments.values() for other in self.hardships):",
        "if True:",
        "of two hardships on an HSM the end of one ends both",
    ),
    Mistake(
        "due-now-is-not-due",
        SCHEDULER,
        "(due_ns := self.next_due_ns()) is not None and due_ns <= instant_ns:",
        "(due_ns := self.next_due_ns()) is not None and due_ns < instant_ns:",
        "what is due at the very end of an advance does not happen",
    ),
    Mistake(
        "runs-past-its-time",
        SCHEDULER,
        "        while heap and heap[0][0] <= due_ns:\n",
        "        while heap and heap[0][0] < due_ns:\n",
        "a call runs ahead of others of the same instant",
    ),
    Mistake(
        "deadline-beats-answer",
        SCHEDULER,
        "                late=True,\n",
        "                late=False,\n",
        "an answer that arrives at the very deadline is too late",
    ),
)
