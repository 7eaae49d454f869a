"""How does an application die in a test?"""

from collections.abc import Callable
from typing import Any

import pytest

dead_men_search = pytest.mark.filterwarnings(
    "ignore:Exception ignored in.*OperationContext:pytest.PytestUnraisableExceptionWarning"
)
"""python-pkcs11 ends a search in a destructor; a killed process would not have got there, and ours is told so."""


class Mortal:
    """An HSM client that takes the application with it when it dies, as a killed process would.

    Args:
        client: the client.
        died: whether an error that it raised means that the process was killed.
    """

    def __init__(self, client: object, died: Callable[[Exception], bool]) -> None:
        self._client = client
        self._died = died

    def __getattr__(self, name: str) -> Any:
        def call(*arguments: Any, **keywords: Any) -> Any:
            try:
                return getattr(self._client, name)(*arguments, **keywords)
            except Exception as error:
                if self._died(error):
                    raise SystemExit(137) from error  # no `except Exception` stops it
                raise

        return call
