"""Who decides how often the tests of this run are run?"""

import pytest

from .options import SETTINGS
from .stage import Director
from .theatre import NAME, Curtain, Theatre


def open_theatre(config: pytest.Config) -> None:
    """Register the plugin that runs tests again, with the directors that this run needs."""
    if config.pluginmanager.hasplugin(NAME):
        return
    directors: list[Director] = []
    if config.stash[SETTINGS].mutants:
        from .mutation import Mutator

        directors.append(Mutator())
    from .sweeping import Sweeper

    directors.append(Sweeper(config))
    from .exploring import Explorer

    directors.append(Explorer(config))
    if config.stash[SETTINGS].background:
        from .storming import Stormer

        directors.append(Stormer(config))
    theatre = Theatre(directors)
    config.pluginmanager.register(theatre, NAME)
    config.pluginmanager.register(Curtain(theatre), f"{NAME}-curtain")
