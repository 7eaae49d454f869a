"""Is what is shown to be pasted the test that failed, as complete Python?"""

import ast

import pytest

from pytest_hsmcluster.regression import regression_test

SPEC = "drop @ wire.response op=sign nth=1"


@pytest.fixture
def pasted(pytester):
    """Return the regression test of the last test that is collected from a source, or of the one of a name."""

    def pasted(source, name=None, specs=(SPEC,), seed=7):
        items = pytester.getitems(source)
        item = next(one for one in items if one.name == name) if name else items[-1]
        found = regression_test(item, specs, seed)
        if found is not None:
            ast.parse(f"class _:\n{found.text}" if found.text.startswith(" ") else found.text)
        return found

    return pasted


def test_a_test_keeps_everything_but_its_name(pasted):
    """Decorators, comments, docstring; the markers come on top."""
    found = pasted(
        """
        import pytest as pt

        @pt.mark.skipif(
            False,  # a comment
            reason="ä",
        )
        def test_it(tmp_path):
            '''Does it
        across lines.'''
            def test_it(): pass
        """
    )
    assert found.where == "test_a_test_keeps_everything_but_its_name.py"
    assert found.text == (
        "@pt.mark.hsm_cluster(seed=7)\n"
        f'@pt.mark.hsm_chaos("{SPEC}")\n'
        "@pt.mark.skipif(\n"
        "    False,  # a comment\n"
        '    reason="ä",\n'
        ")\n"
        "def test_it_regression(tmp_path):\n"
        "    '''Does it\n"
        "across lines.'''\n"
        "    def test_it(): pass"
    )


def test_several_faults_stand_in_lines_of_their_own(pasted):
    """Also a long one, and one with quotes."""
    specs = ("kill-mid-create", "drop @ wire.request key='payroll \"2024\"' nth=1")
    text = pasted("import pytest\ndef test_it(): pass", specs=specs).text
    assert ast.literal_eval(text[text.index("hsm_chaos(") + len("hsm_chaos") : text.index("\ndef")]) == specs
    assert text.splitlines()[1:3] == ["@pytest.mark.hsm_chaos(", '    "kill-mid-create",']


@pytest.mark.parametrize(
    ("decorators", "name", "left"),
    [
        ('@mark.parametrize("a", [1, 2, 3])', "test_it[2]", '@mark.parametrize("a", [2])'),
        (
            '@mark.parametrize(("a", "b"), ((1, 2), pytest.param("ä", (3, 4), id="x")), ids=["p", "q"])',
            "test_it[x]",
            '@mark.parametrize(("a", "b"), [pytest.param("ä", (3, 4), id="x")], ids=None)',
        ),
        (
            '@mark.parametrize("a", VALUES, ids=str)',
            "test_it[5]",
            '@mark.parametrize("a", [list(VALUES)[1]], ids=None)',
        ),
        ('@mark.parametrize("a", [0, *VALUES])', "test_it[5]", '@mark.parametrize("a", [list([0, *VALUES])[2]])'),
        (
            '@mark.parametrize(argvalues=[(1, 2), (3, 4)], argnames="a,b")',
            "test_it[3-4]",
            '@mark.parametrize(argvalues=[(3, 4)], argnames="a,b")',
        ),
        (
            '@mark.parametrize("a", [1, 2])\n@mark.parametrize("b", "xy")',
            "test_it[y-1]",
            '@mark.parametrize("a", [1])\n@mark.parametrize("b", [list("xy")[1]])',
        ),
    ],
)
def test_of_several_parameter_sets_there_is_the_one_that_failed(pasted, decorators, name, left):
    """Literal or not, stacked, with ids; and what is pasted can be imported."""
    head = "import pytest\nfrom pytest import mark\nVALUES = (4, 5)\n"
    source = f"{head}\n{decorators}\ndef test_it({'a, b' if 'b' in left else 'a'}): pass\n"
    text = pasted(source, name).text
    assert text.splitlines()[2:-1] == left.splitlines()
    module = {}
    exec(head + text, module)
    sets = [mark for mark in module["test_it_regression"].pytestmark if mark.name == "parametrize"]
    assert all(len((*mark.args, *mark.kwargs.values())[bool(mark.args)]) == 1 for mark in sets)


def test_what_cannot_be_cut_down_is_said(pasted):
    """Parameters of fixtures and classes, and those without names: which case is meant stands on top."""
    source = """
        import pytest

        @pytest.fixture(params=[1, 2])
        def number(request): return request.param

        def test_fixture(number): pass

        @pytest.mark.parametrize("", [pytest.param(id="one"), pytest.param(id="two")])
        def test_nameless(): pass
    """
    assert "# Several cases; the one that failed is test_fixture[2]\ndef test" in pasted(source, "test_fixture[2]").text
    assert "# Several cases; the one that failed is test_nameless[two]\n" in pasted(source).text


def test_a_method_is_indented_for_its_class(pasted):
    """A free name there, and in the module."""
    source = """
        class TestOuter:
            class TestInner:
                async def test_it(self): pass
                def test_it_regression(self): pass

        def test_other(): pass
        test_other_regression = test_other_regression2 = None
    """
    inner = pasted(source, "test_it")
    assert inner.where == "class TestOuter.TestInner of test_a_method_is_indented_for_its_class.py"
    assert inner.text.splitlines() == [
        "        # needs `import pytest`",
        "        @pytest.mark.hsm_cluster(seed=7)",
        f'        @pytest.mark.hsm_chaos("{SPEC}")',
        "        async def test_it_regression2(self): pass",
    ]
    other = pasted(source, "test_other").text
    assert other.startswith("import pytest\n\n\n@pytest.mark.hsm_cluster(seed=7)\n")
    assert other.endswith("def test_other_regression3(): pass")


def test_a_seed_of_the_test_itself_stays(pasted):
    """The marker says it already."""
    text = pasted("import pytest\n@pytest.mark.hsm_cluster(seed=3, hsms=2)\ndef test_it(hsm_cluster): pass").text
    assert "seed=7" not in text and "seed=3" in text


def test_a_test_without_source_has_no_regression_test(pasted):
    """Made by `exec`, say."""
    assert pasted("exec('def test_it(): pass')") is None
