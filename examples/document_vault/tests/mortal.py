"""How does an application die in a test?"""

from typing import Any

from pytest_hsmcluster import ApplicationDied, Client


class Mortal:
    """An HSM client that takes the application with it when it dies, as a killed process would."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def __getattr__(self, name: str) -> Any:
        def call(*arguments: Any, **keywords: Any) -> Any:
            try:
                return getattr(self._client, name)(*arguments, **keywords)
            except ApplicationDied as died:
                raise SystemExit(137) from died  # no `except Exception` stops it

        return call
