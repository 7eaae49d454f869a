"""Where does pytest meet us?

Every pytest run on the machine loads this module: it imports pytest and the standard library only.
"""

from collections.abc import Generator

import pytest

from . import hookspecs
from .fixtures import (
    _hsm_trial as _hsm_trial,
    hsm_async_client as hsm_async_client,
    hsm_chaos as hsm_chaos,
    hsm_check as hsm_check,
    hsm_client as hsm_client,
    hsm_clock as hsm_clock,
    hsm_cluster as hsm_cluster,
    hsm_cluster_factory as hsm_cluster_factory,
    hsm_config_file as hsm_config_file,
    hsm_faker as hsm_faker,
    hsm_history as hsm_history,
)
from .markers import CHAOS, CLUSTER, SIGNATURES
from .options import SETTINGS, add_options, read_settings
from .trial import TRIAL


class BrokenPromise(pytest.fail.Exception, AssertionError):
    """An end-of-test check that failed: an assertion for `xfail(raises=…)`, shown without a traceback."""


def pytest_addoption(parser: pytest.Parser) -> None:
    add_options(parser)


def pytest_addhooks(pluginmanager: pytest.PytestPluginManager) -> None:
    pluginmanager.add_hookspecs(hookspecs)


def pytest_configure(config: pytest.Config) -> None:
    for signature in SIGNATURES:
        config.addinivalue_line("markers", signature)
    config.stash[SETTINGS] = read_settings(config)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """A marker brings its fixture."""
    names = getattr(item, "fixturenames", None)
    if names is None or (item.get_closest_marker(CLUSTER) is None and item.get_closest_marker(CHAOS) is None):
        return
    if "hsm_cluster" not in names and "hsm_cluster_factory" not in names:
        item.fixturenames = [*names, "hsm_cluster"]  # a new list: cases of one parametrized test share theirs


@pytest.hookimpl(wrapper=True, trylast=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, object, object]:
    """Install the faults, run the test, judge what it left."""
    trial = item.stash.get(TRIAL, None)
    if trial is not None:
        trial.begin_call()
    result = yield
    trial = item.stash.get(TRIAL, None)
    if trial is not None:
        found = []
        for cluster in trial.clusters:
            found += [f"fault never fired: {one}; may_miss=True allows it" for one in cluster.chaos.unfired]
            for name in trial.checks:
                try:
                    cluster.check.run(name)
                except AssertionError as error:
                    found.append(str(error))
        if found:
            raise BrokenPromise("\n".join(found), pytrace=False)
    return result
