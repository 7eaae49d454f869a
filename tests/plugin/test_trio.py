"""Are tests that run under trio tests like all others?

anyio's plugin runs them, once for each backend; pytest-trio is not needed.
"""

import pytest

for _library in ("anyio", "trio"):
    pytest.importorskip(_library, reason=f"{_library} is not installed: pip install 'pytest-hsmcluster[test]'")

BACKENDS = """
    import pytest

    @pytest.fixture(params=["asyncio", "trio"])
    def anyio_backend(request):
        return request.param

    @pytest.fixture
    async def kek(hsm_async_client):
        yield await hsm_async_client.generate_key("AES", 256, label="kek")
        assert await hsm_async_client.find_keys(label="kek")
"""


def on_both(run, source, *arguments):
    """Run a test file with both backends of anyio, in a process of its own."""
    return run(source, "-p", "anyio", "-v", *arguments, conftest=BACKENDS, apart=True)


def test_one_test_runs_under_asyncio_and_trio(run):
    """Fixtures that await, the body and their teardown share one run; every journal has a digest."""
    result = on_both(
        run,
        """
        import asyncio
        import contextlib

        import anyio
        import pytest

        pytestmark = pytest.mark.anyio

        async def test_it(hsm_async_client, hsm_cluster, hsm_history, kek, anyio_backend):
            with pytest.raises(RuntimeError) if anyio_backend == "trio" else contextlib.nullcontext():
                asyncio.get_running_loop()
            async with anyio.create_task_group() as group:
                for number in range(4):
                    group.start_soon(hsm_async_client.encrypt, kek, bytes(number))
            with anyio.move_on_after(5):
                await hsm_async_client.delete_key(await hsm_async_client.generate_key("AES", 128))
            assert len(hsm_history.digest()) == 64
        """,
    )
    result.assert_outcomes(passed=2)
    assert "test_it[asyncio] PASSED" in result.stdout.str()
    assert "test_it[trio] PASSED" in result.stdout.str()


def test_promises_are_checked_at_the_end_of_the_body(run):
    """What is lost fails the test in its call phase; what is known to fail may; a fault that missed is told."""
    result = on_both(
        run,
        """
        import pytest

        pytestmark = [pytest.mark.anyio, pytest.mark.hsm_cluster(sdk=3)]

        @pytest.mark.hsm_chaos("kill-mid-create")
        async def test_lost(hsm_async_client):
            await hsm_async_client.generate_key("AES", 256, label="payroll")

        @pytest.mark.xfail(strict=True, raises=AssertionError)
        @pytest.mark.hsm_chaos("kill-mid-create")
        async def test_known(hsm_async_client):
            await hsm_async_client.generate_key("AES", 256, label="payroll")

        @pytest.mark.hsm_chaos("drop @ wire.request command=sign")
        async def test_missed(hsm_async_client):
            await hsm_async_client.random(8)
        """,
    )
    result.assert_outcomes(failed=4, xfailed=2)
    text = result.stdout.str()
    assert text.count("lost key 'payroll'") >= 2
    assert "test_lost[trio]" in text
    assert "test_missed[trio]" in text


def test_trio_tests_are_swept(run):
    """Each case has its own run of trio, and the clean run repeats itself."""
    result = on_both(
        run,
        """
        import anyio
        import pytest

        @pytest.mark.anyio
        @pytest.mark.hsm_cluster(sdk=3)
        @pytest.mark.hsm_sweep("destroy source", points="client.clone", op="generate_key")
        async def test_it(hsm_async_client):
            await hsm_async_client.random(8)
            async with anyio.create_task_group() as group:
                for number in range(3):
                    group.start_soon(hsm_async_client.random, 8 + number)
            await hsm_async_client.generate_key("AES", 256, label="kek")
        """,
    )
    result.assert_outcomes(passed=4, failed=4)
    text = result.stdout.str()
    assert "does not repeat itself" not in text
    for backend in ("asyncio", "trio"):
        assert f"test_it[{backend}]: 2 points, 2 cases, 1 broke a promise" in text
