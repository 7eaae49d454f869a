"""Who decides how often the tests of this run are run?"""

import pytest

from .stage import NAME, Curtain, Director, Theatre


def open_theatre(config: pytest.Config) -> None:
    """Register the plugin that runs tests again, with the directors that this run needs."""
    if config.pluginmanager.hasplugin(NAME):
        return
    directors: list[Director] = []
    from .sweeping import Sweeper

    directors.append(Sweeper(config))
    theatre = Theatre(directors)
    config.pluginmanager.register(theatre, NAME)
    config.pluginmanager.register(Curtain(theatre), f"{NAME}-curtain")
