"""Can every fault and hardship that is drawn act?"""

import warnings

import pytest

from pytest_hsmcluster import ConfigWarning, Point, UsageError
from pytest_hsmcluster.faults.points import CREATING
from pytest_hsmcluster.faults.spec import parse_fault, parse_scenario
from pytest_hsmcluster.scenarios import SCENARIOS
from pytest_hsmcluster.stories.drawing import SHAPES
from pytest_hsmcluster.stories.picking import Genes, genes_of
from pytest_hsmcluster.stories.story import Shape
from pytest_hsmcluster.stories.troubles import WINDOWS, commands_of, fault, hardship, hardships, strikes


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_every_drawn_fault_is_valid_and_parses_back(shape):
    """It can be made, installed, written down and read."""
    with shape.cluster() as cluster:
        for genes in genes_of(1, 300):
            drawn = fault(Genes(genes), shape, clients=("app", "other"), keys=("kek", "it's"))
            assert parse_fault(str(drawn)) == drawn
            cluster.chaos.inject(drawn).remove()


def test_drawn_condition_is_about_what_comes_to_its_point():
    """An operation sends the command, and a key is named only where a call is about one."""
    shape = SHAPES[0]
    for genes in genes_of(2, 2000):
        drawn = fault(Genes(genes), shape)
        when, point = drawn.when, drawn.point
        if when.op and when.command and point is not Point.CLIENT_ROUTE:
            assert when.command in commands_of(when.op, shape)
        if when.op and point in (Point.CLIENT_CLONE, Point.CLIENT_CLEANUP, Point.CLIENT_REPORT):
            assert when.op in CREATING
        assert not (when.key and when.op in ("random", "find_keys", "login", "logout"))
        if getattr(drawn.effect, "target", None) == "source":
            assert when.op in (None, *CREATING)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_every_hardship_fits_its_cluster_and_parses_back(shape):
    """All of them, with all arguments, begin and end in a cluster of the shape."""
    for name, many in hardships(shape, ("app",), ("crypto_user",)).items():
        for arguments in many:
            with warnings.catch_warnings(), shape.cluster() as cluster:
                warnings.simplefilter("ignore", ConfigWarning)
                spec = " ".join([name, *(f"{key}={value}" for key, value in arguments)])
                begun = cluster.chaos.install(spec)
                assert SCENARIOS[name].arguments(parse_scenario(str(begun))) is not None
                begun.end()


def test_hardship_may_have_a_window():
    shape = SHAPES[0]
    drawn = [str(hardship(Genes(genes), shape, windows=WINDOWS)) for genes in genes_of(3, 60)]
    assert all("during=" in spec for spec in drawn)
    for spec in drawn:
        with shape.cluster() as cluster:
            cluster.chaos.install(spec).end()


def test_points_that_a_cluster_never_passes_are_left_out():
    """A single HSM has nobody to copy to, and where one copy is enough nothing is cleaned up."""
    points = {point for _, point in strikes(Shape(1, 3))}
    assert not points & {Point.CLIENT_CLONE, Point.CLIENT_CLEANUP, Point.SYNC_CLONE}
    assert {point for _, point in strikes(Shape(3, 3, 2))} == {*Point}


def test_fault_that_cannot_be_is_refused():
    with pytest.raises(UsageError, match=r"no fault can act: none of corrupt at hsm\.commit strikes"):
        fault(Genes(b""), SHAPES[0], points=(Point.HSM_COMMIT,), effects=("corrupt",))


def test_without_genes_the_simplest_is_chosen():
    """What Hypothesis shrinks towards."""
    assert str(fault(Genes(b""), SHAPES[0])) == "delay 80ms @ client.route nth=1"
    assert str(hardship(Genes(b""), SHAPES[0])) == "lost-ack op=generate_key"
