"""Is everything set up and torn down for the cases of a sweep when it should be, as often as it should be?"""

from tests.plugin.swept import HOLDS, ONE_CASE, ROTATION, names, one, verdicts


def test_wider_scopes_stay_up_for_all_cases_and_end_once(run, pytester):
    """Fixtures of class, module and session are made once for a test, its cases and its neighbours, and end in time."""
    result = run(
        """
        import pathlib
        import pytest

        def noting(scope):
            @pytest.fixture(scope=scope)
            def fixture():
                note("+" + scope)
                yield
                note("-" + scope)
            return fixture

        def note(what):
            with pathlib.Path("notes").open("a") as notes:
                notes.write(what + "\\n")

        function, klass, module, session = map(noting, ["function", "class", "module", "session"])

        class TestClass:
            instances = set()

            @pytest.mark.hsm_cluster(hsms=1, sdk=3)
            @pytest.mark.hsm_sweep("delay 1s", points="hsm.*", op="generate_key")
            def test_holds(self, hsm_client, function, klass, module, session):
                assert not hasattr(self, "dirty")
                self.dirty = True
                hsm_client.generate_key("AES", 256, label="kek")
                note("run")

            def test_sibling(self, klass):
                note("sibling")

        def test_neighbour(module):
            note("neighbour")
    """,
        "-v",
    )
    result.assert_outcomes(passed=1 + 3 + 2)
    lines = (pytester.path / "notes").read_text().split()
    runs = ["+function", "run", "-function"] * 5  # clean, unseen, three cases
    assert [line for line in lines if line not in ("+session", "+module", "+class")] == [
        *runs,
        *("sibling", "-class"),
        *("neighbour", "-module", "-session"),
    ]
    assert sorted(lines[:3]) == ["+class", "+module", "+session"]


def test_wider_scopes_end_between_swept_tests(run, pytester):
    """A class's fixture is torn down behind the last case of its last test, and its prints are captured."""
    result = run("""
        import pytest

        @pytest.fixture(scope="class")
        def scoped():
            yield
            print("torn down")
            if fails:
                raise KeyError("in tear-down")

        fails = False

        class TestOne:
            @pytest.mark.hsm_cluster(hsms=1, sdk=3)
            @pytest.mark.hsm_sweep("delay 1s", points="hsm.reply", op="generate_key")
            def test_it(self, hsm_client, scoped):
                hsm_client.generate_key("AES", 256, label="kek")

        def test_after():
            print("after")
            assert False
    """)
    result.assert_outcomes(passed=2, failed=1)
    assert "torn down" not in result.stdout.str()


def test_wrong_tear_down_of_a_wider_scope_is_reported(run):
    """It is an error of the test, told once with what it printed, whether its cases held or not."""
    fixture = """
    @pytest.fixture(scope="module")
    def scoped():
        yield
        print("tearing down")
        raise KeyError("in tear-down")
    """
    for source, passed, failed in ((HOLDS, 4, 0), (ROTATION, 5, 3)):
        result = run(source.replace("hsm_client)", "hsm_client, scoped)") + fixture)
        result.assert_outcomes(passed=passed, failed=failed, errors=1)
        text = result.stdout.str()
        assert text.count("KeyError: 'in tear-down'") >= 1
        assert "Captured stdout teardown" in text and "tearing down" in text


def test_wrong_tear_down_is_reported_when_the_sweep_itself_stops_the_run(run):
    """-x, and the sweep is what fails: nothing of the next test is waited for."""
    fixture = """
    @pytest.fixture(scope="module")
    def scoped():
        yield
        raise KeyError("in tear-down")

    def test_after(scoped): pass
    """
    source = HOLDS.replace("hsm_client)", "hsm_client, scoped)").replace('op="generate_key"', 'op="sign"')
    run(source + fixture, "-x").assert_outcomes(passed=1, failed=1, errors=1)


def test_tear_down_of_a_wider_scope_may_not_warn_under_w_error(run):
    """Filters for warnings hold there too."""
    fixture = """
    import warnings

    @pytest.fixture(scope="module")
    def scoped():
        yield
        warnings.warn("late")
    """
    run(HOLDS.replace("hsm_client)", "hsm_client, scoped)") + fixture).assert_outcomes(passed=4, errors=1)


def test_set_up_that_fails_in_a_case_breaks_it(run):
    """An error in a case's set-up is an error of that case, and the sweep tells it."""
    before = """
    import pytest

    @pytest.fixture
    def picky(request):
        if "nth" in request.node.name:
            raise KeyError("picky")
    """
    result = run(one(fixtures=", picky", before=before), "-v")
    assert verdicts(result) == [("test_one", "PASSED"), (ONE_CASE, "ERROR"), ("test_one", "FAILED")]
    assert "sweep: 1 of 1 case broke a promise" in result.stdout.str()


def test_class_has_a_fresh_instance_for_each_run(run):
    """setup_method and attributes of self are a case's own; setup_class is the class's."""
    run("""
        import pytest

        calls = []

        class TestClass:
            @classmethod
            def setup_class(cls): calls.append("class")
            @classmethod
            def teardown_class(cls): calls.append("class down")
            def setup_method(self, method): calls.append(f"{method.__name__} {hasattr(self, 'used')}")
            def teardown_method(self): calls.append(f"down {self.used}")

            @pytest.mark.hsm_cluster(hsms=1, sdk=3)
            @pytest.mark.hsm_sweep("delay 1s", points="hsm.reply", op="generate_key")
            def test_it(self, hsm_client):
                self.used = len(calls)
                hsm_client.generate_key("AES", 256, label="kek")

        def test_after():
            once = "test_it False"
            assert calls == ["class", once, "down 2", once, "down 4", once, "down 6", "class down"]
    """).assert_outcomes(passed=3)


def test_parameters_are_those_of_the_test(run):
    """Parameters, direct, indirect and of wider scopes, reach each case; a wider one is made once a value."""
    result = run(
        """
        import pytest

        made = []

        @pytest.fixture(scope="module", params=["a", "b"])
        def wide(request):
            made.append(request.param)
            return request.param

        @pytest.fixture
        def indirect(request):
            return request.param * 2

        @pytest.mark.hsm_cluster(hsms=1, sdk=3)
        @pytest.mark.hsm_sweep("delay 1s", points="hsm.reply", op="generate_key")
        @pytest.mark.parametrize("n, indirect", [(1, "x")], indirect=["indirect"])
        def test_it(request, wide, n, indirect, hsm_client):
            assert request.node.callspec.params == {"wide": wide, "n": 1, "indirect": "x"}
            assert indirect == "xx" and request.node.name.startswith(request.node.originalname)
            hsm_client.generate_key("AES", 256, label="kek")

        def test_after():
            assert made == ["a", "b"]
    """,
        "-v",
    )
    label = "delay 1s @ hsm.reply op=generate_key command=generate_key hsm=hsm-1 nth=1"
    assert names(result) == [
        "test_it[a-1-x]",
        f"test_it[a-1-x-{label}]",
        "test_it[b-1-x]",
        f"test_it[b-1-x-{label}]",
        "test_after",
    ]
    result.assert_outcomes(passed=5)


def test_fixtures_of_pytest_work_in_cases(run):
    """tmp_path is a folder of its own; capsys, caplog, monkeypatch, recwarn and record_property serve each case."""
    body = """
        assert list(tmp_path.iterdir()) == []
        (tmp_path / "mine").touch()
        print("said")
        assert capsys.readouterr().out == "said\\n"
        logging.getLogger("app").warning("heard")
        assert [record.message for record in caplog.records] == ["heard"]
        assert "HSM_TEST" not in os.environ
        monkeypatch.setenv("HSM_TEST", "1")
        record_property("mine", 1)
        assert len(request.node.user_properties) == 1
        folders.append(tmp_path)
        assert len(set(folders)) == len(folders)
        assert request.node in request.session.items
        assert os.environ["PYTEST_CURRENT_TEST"] == request.node.nodeid + " (call)"
    """
    fixtures = ", tmp_path, capsys, caplog, monkeypatch, record_property, request"
    result = run(one(body, fixtures, "import logging, os\nfolders = []"), "-v")
    assert verdicts(result) == [("test_one", "PASSED"), (ONE_CASE, "PASSED")]


def test_request_node_is_the_case(run):
    """It has the markers of the test, also those that a hook has added, and its node id says the fault."""
    conftest = """
    import pytest

    def pytest_collection_modifyitems(items):
        for item in items:
            item.add_marker(pytest.mark.hsm_cluster(hsms=2))
            item.user_properties.append(("mine", 1))
    """
    body = """
        shapes = [mark.kwargs for mark in request.node.iter_markers("hsm_cluster")]
        assert shapes == [{"hsms": 1, "sdk": 3}, {"hsms": 2}]
        assert request.node.get_closest_marker("hsm_sweep")
        assert request.node.user_properties == [("mine", 1)]
        assert request.node.nodeid in ("test_it.py::test_one", f"test_it.py::{CASE}")
    """
    result = run(one(body, ", hsm_cluster, request", f"CASE = {ONE_CASE!r}"), conftest=conftest)
    result.assert_outcomes(passed=2)
