"""Which stories are there?

`drawn(seed)` is a long one about anything, `scenario(seed)` a short one: three HSMs, five calls and a fault.
"""

from collections.abc import Callable, Sequence
from typing import Any

from ..cryptoki import CKA
from ..faults.when import OPERATIONS
from ..keys.mechanisms import CounterKdfParams
from .picking import Genes, Pick, genes_of
from .story import CHAOS, CLOCK, CLUSTER, TROUBLE, Ref, Shape, Step, Story
from .troubles import WINDOWS, fault, hardship

SHAPES: tuple[Shape, ...] = (
    Shape(3, 3, 2),
    Shape(3, 5),
    Shape(2, 3),
    Shape(3, 3, 2, (("create_returns", "enough"), ("routing", "random"))),
    Shape(4, 5, None, (("routing", "least_busy"), ("retry_mode", "off"), ("sweep_period_s", 5))),
    Shape(3, 5, None, (("crash_peer", "silence"), ("sdk5_cleans_up", False), ("request_timeout_s", 2))),
    Shape(1, 3, None, (("sweep", False),)),
    Shape(3, 3, None, (("sweep_remembers_deletes", True), ("routing", "pinned"), ("queue_limit", 1))),
    Shape(4, 3, 3, (("zones", ("a", "b")),)),
    Shape(2, 5, None, (("availability_check", False), ("sweep", False))),
)
"""Clusters that stories are about, the plainest first."""

SECONDS = (60, 1, 0.001, 3, 0.002, 0.0825, 20, 19.998, 59.999, 100, 400)
"""How far a story lets time go: among them the instants at which things fall together."""

LABELS = ("label-1", "label-2", "label-3")
APPS = ("app", "other")
DATA = b"data"
USER, PASSWORD = "bob", "password"

KINDS = (*("call",) * 11, *("fault",) * 3, *("hardship",) * 2, *("wait",) * 3, "calm", "calm", "sweep", "power")


def drawn(seed: int, length: int = 30, *, shape: Shape | None = None) -> Story:
    """Return a story of some shape with so many steps: the same for the same seed."""
    chosen = SHAPES[seed % len(SHAPES)] if shape is None else shape
    return story_of(chosen, genes_of(seed, length), apps=APPS[: 1 + seed // len(SHAPES) % 2], seed=seed)


def scenario(seed: int, shape: Shape = SHAPES[0], calls: int = 5, faults: int = 1) -> Story:
    """Return a short story, the first call of which makes a key; the faults come between the calls."""
    draft = Draft(shape)
    genes = [Genes(one) for one in genes_of(seed, 1 + calls + faults, "scenario")]
    places = [genes[0](range(calls)) for _ in range(faults)]
    for number in range(calls):
        for pick in [genes[1 + calls + index] for index, place in enumerate(places) if place == number]:
            draft.fault(pick)
        (draft.call if number else draft.create)(genes[1 + number])
    return draft.story(seed=seed)


def story_of(
    shape: Shape,
    genes: Sequence[bytes],
    *,
    apps: Sequence[str] = APPS[:1],
    kinds: Sequence[str] = KINDS,
    checks: tuple[str, ...] = ("no_lost_keys",),
    seed: int = 0,
) -> Story:
    """Return the story that these genes tell, one step each.

    Args:
        shape: of its cluster.
        genes: `picking.GENES` bytes for each step.
        apps: names of its applications.
        kinds: of steps, each as often as it shall come: `call`, `fault`, `hardship`, `wait`, `calm`, `sweep`, `power`.
        checks: that are asked at its end.
        seed: of its cluster.
    """
    draft = Draft(shape, apps)
    for one in genes:
        pick = Genes(one)
        draft.add(pick(kinds), pick)
    return draft.story(checks, seed)


class Draft:
    """A story that is being written: knows what earlier steps gave.

    Attributes:
        steps: written so far.
        secrets: AES keys; pairs: EC key pairs; the newest first, like all that follows.
        made: signatures, boxes and blobs, each with what is needed to look into it.
        troubles: those that have not been ended, and whether each is a fault.
    """

    def __init__(self, shape: Shape, apps: Sequence[str] = APPS[:1]) -> None:
        self.shape = shape
        self.apps = tuple(apps)
        self.steps = [Step(CLUSTER, "client", (app,), gives=app) for app in apps]
        self.secrets: list[Ref] = []
        self.pairs: list[str] = []
        self.signatures: list[tuple[Ref, Ref]] = []
        self.boxes: list[tuple[Ref, Ref]] = []
        self.blobs: list[tuple[Ref, Ref]] = []
        self.troubles: list[tuple[str, bool]] = []
        self._faults: list[tuple[int, Pick]] = []
        self._bob = False
        self._counts: dict[str, int] = {}

    def add(self, kind: str, pick: Pick) -> None:
        """Write one more step of a kind (see `story_of`)."""
        _KINDS[kind](self, pick)

    def story(self, checks: tuple[str, ...] = ("no_lost_keys",), seed: int = 0) -> Story:
        """Return the story; only now is each fault drawn, when it is known what will be called after it."""
        for index, pick in self._faults:
            called = (step.does for step in self.steps[index:] if step.on in self.apps)
            ops = tuple(dict.fromkeys(called)) or OPERATIONS
            drawn = fault(pick, self.shape, ops=ops, clients=self.apps, keys=LABELS)
            self.steps[index] = Step(CHAOS, "inject", (drawn,), gives=self.steps[index].gives)
        self._faults.clear()
        return Story(self.shape, tuple(self.steps), checks, seed)

    # -- what applications do ----------------------------------------------------------

    def call(self, pick: Pick) -> None:
        """Have an application call something; without any key it makes one."""
        if not self.secrets and not self.pairs:
            self.create(pick)
        else:
            pick(_CALLS)(self, pick)

    def create(self, pick: Pick) -> None:
        """Have an application make a key."""
        kind = pick(("AES", "AES", "AES", "import", "EC", "session", "min_srv"))
        label = ("label", pick(LABELS))
        if kind == "EC":
            name = self._name("pair")
            session = (("token", False),) if pick((False, False, False, True)) else ()
            self._app(pick, "generate_key_pair", "EC", "P-256", label, *session, gives=name)
            self.pairs.insert(0, name)
            return
        name = self._name("key")
        if kind == "import":
            self._app(pick, "import_key", "AES", bytes([pick((1, 2, 3))]) * 32, label, gives=name)
        elif kind == "session":
            self._app(pick, "generate_key", "AES", 256, label, ("token", False), gives=name)
        elif kind == "min_srv" and self.shape.sdk == 3 and self.shape.hsms > 1:
            wanted = ("min_srv", pick(range(1, self.shape.hsms)))
            timed = pick(((), (("timeout_s", 0.09),), (("timeout_s", 0.002),), (("timeout_s", 5),)))
            self._app(pick, "generate_key", "AES", 128, label, wanted, *timed, gives=name)
        else:
            self._app(pick, "generate_key", "AES", 256, label, gives=name)
        self.secrets.insert(0, Ref(name))

    def _sign(self, pick: Pick) -> None:
        name = self._name("signature")
        if self.pairs and (not self.secrets or pick((True, False))):
            pair = pick(self.pairs)
            signing, verifying = Ref(pair, "private"), Ref(pair, "public")
        else:
            signing = verifying = pick(self.secrets)
        self._app(pick, "sign", signing, DATA, gives=name)
        self.signatures.insert(0, (Ref(name), verifying))

    def _verify(self, pick: Pick) -> None:
        if not self.signatures:
            return self._sign(pick)
        signature, key = pick(self.signatures)
        self._app(pick, "verify", key, DATA if pick((True, True, True, False)) else b"other data", signature)

    def _encrypt(self, pick: Pick) -> None:
        if not self.secrets:
            return self._sign(pick)
        name, key = self._name("box"), pick(self.secrets)
        self._app(pick, "encrypt", key, DATA, *(() if pick((True, True, False)) else (("aad", b"about"),)), gives=name)
        self.boxes.insert(0, (Ref(name), key))

    def _decrypt(self, pick: Pick) -> None:
        if not self.boxes:
            return self._encrypt(pick)
        box, key = pick(self.boxes)
        self._app(pick, "decrypt", key, box)

    def _wrap(self, pick: Pick) -> None:
        if not self.secrets:
            return self._sign(pick)
        name, kek = self._name("blob"), pick(self.secrets)
        self._app(pick, "wrap_key", self._key(pick), ("with_key", kek), gives=name)
        self.blobs.insert(0, (Ref(name), kek))

    def _unwrap(self, pick: Pick) -> None:
        if not self.blobs:
            return self._wrap(pick)
        (blob, kek), name = pick(self.blobs), self._name("key")
        self._app(pick, "unwrap_key", blob, ("with_key", kek), ("kind", "AES"), ("label", pick(LABELS)), gives=name)
        self.secrets.insert(0, Ref(name))

    def _derive(self, pick: Pick) -> None:
        if not self.secrets:
            return self._sign(pick)
        base, name = pick(self.secrets), self._name("key")
        params = CounterKdfParams(label=b"label", context=b"context")
        self._app(pick, "derive_key", base, params, ("bits", 128), ("label", pick(LABELS)), gives=name)
        self.secrets.insert(0, Ref(name))

    def _find(self, pick: Pick) -> None:
        self._app(pick, "find_keys", *(() if pick((False, True)) else (("label", pick(LABELS)),)))

    def _delete(self, pick: Pick) -> None:
        self._app(pick, "delete_key", self._key(pick))

    def _share(self, pick: Pick) -> None:
        if not self._bob:
            self._bob = True
            self.steps.append(Step(CLUSTER, "create_user", (USER, PASSWORD)))
        does = pick(("share_key", "share_key", "unshare_key"))
        self._app(pick, does, self._key(pick), ("with_user", USER))

    def _look(self, pick: Pick) -> None:
        if self.pairs and (not self.secrets or pick((True, False))):
            self._app(pick, "public_key", Ref(pick(self.pairs), "public"))
        else:
            self._app(pick, "get_attributes", self._key(pick))

    def _change(self, pick: Pick) -> None:
        key = self._key(pick)
        name, value = pick(((CKA.LABEL, pick(LABELS)), (CKA.ENCRYPT, False), (CKA.ENCRYPT, True), (CKA.TOKEN, True)))
        self._app(pick, "set_attribute", key, name, value)

    def _session(self, pick: Pick) -> None:
        what = pick(("again", "out", "bob", "wrong"))
        if what == "out":
            self._app(pick, "logout")
        elif what == "wrong":
            self._app(pick, "login", "crypto_user", "wrong-password")
        elif what == "bob" and self._bob:
            self._app(pick, "login", USER, PASSWORD)
        else:
            self._app(pick, "login", "crypto_user", Ref(CLUSTER, "default_password"))

    def _random(self, pick: Pick) -> None:
        self._app(pick, "random", pick((1, 8, 32)))

    def _app(self, pick: Pick, does: str, *given: Any, gives: str | None = None) -> None:
        """Write a call; what is a pair of a str and a value is a keyword argument."""
        args = tuple(one for one in given if not isinstance(one, tuple))
        options = tuple(one for one in given if isinstance(one, tuple))
        self.steps.append(Step(pick(self.apps), does, args, options, gives))

    def _key(self, pick: Pick) -> Ref:
        halves = [Ref(pair, part) for pair in self.pairs for part in ("private", "public")]
        return pick((*self.secrets, *halves))

    # -- what befalls the cluster --------------------------------------------------------

    def fault(self, pick: Pick) -> None:
        """Install a fault."""
        self._faults.append((len(self.steps), pick))
        self._install("", True)

    def hardship(self, pick: Pick) -> None:
        """Begin a hardship, or have one begin later."""
        users = ("crypto_user", USER) if self._bob else ("crypto_user",)
        windows = (*(None,) * 5, *WINDOWS)
        self._install(str(hardship(pick, self.shape, clients=self.apps, users=users, windows=windows)), False)

    def calm(self, pick: Pick) -> None:
        """End a trouble, or let go whom it holds."""
        if not self.troubles:
            return self.wait(pick)
        name, is_fault = pick(self.troubles)
        if is_fault and pick((False, False, False, True)):
            self.steps.append(Step(name, "release"))
        else:
            self.troubles.remove((name, is_fault))
            self.steps.append(Step(name, "remove" if is_fault else "end"))

    def wait(self, pick: Pick) -> None:
        """Let time pass."""
        self.steps.append(Step(CLOCK, "advance", (pick(SECONDS),)))

    def sweep(self, pick: Pick) -> None:
        """Have the service make a round, or let everything come to its end."""
        self.steps.append(pick((Step(CLUSTER, "sweep_now"), Step(CLUSTER, "sweep_now"), Step(CLOCK, "run_until_idle"))))

    def power(self, pick: Pick) -> None:
        """Have an operator do something to an HSM."""
        hsm, zone = pick(self.shape.ids), pick(self.shape.zones)
        steps = (
            Step(CHAOS, "restart", (hsm,)),
            Step(CLUSTER, "backup"),
            Step(CLUSTER, "add_hsm", (zone,)),
            Step(CLUSTER, "remove_hsm", (hsm,)),
        )
        self.steps.append(pick(steps))

    def _install(self, spec: str, is_fault: bool) -> None:
        name = self._name(TROUBLE.rstrip("_"))
        self.troubles.insert(0, (name, is_fault))
        self.steps.append(Step(CHAOS, "install", (spec,), gives=name))

    def _name(self, what: str) -> str:
        number = self._counts[what] = self._counts.get(what, 0) + 1
        return f"{what}_{number}"


_KINDS: dict[str, Callable[[Draft, Pick], None]] = {
    "call": Draft.call,
    "fault": Draft.fault,
    "hardship": Draft.hardship,
    "wait": Draft.wait,
    "calm": Draft.calm,
    "sweep": Draft.sweep,
    "power": Draft.power,
}

_CALLS: tuple[Callable[[Draft, Pick], None], ...] = (
    *(Draft.create,) * 4,
    *(Draft._sign,) * 3,
    *(Draft._encrypt,) * 3,
    *(Draft._delete,) * 2,
    *(Draft._find,) * 2,
    Draft._verify,
    Draft._decrypt,
    Draft._decrypt,
    Draft._wrap,
    Draft._unwrap,
    Draft._unwrap,
    Draft._derive,
    Draft._share,
    Draft._look,
    Draft._change,
    Draft._session,
    Draft._random,
)
