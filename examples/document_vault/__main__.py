"""The production form of the vault, from the shell; the PIN comes by standard input.

python -m examples.document_vault MODULE TOKEN_LABEL DATABASE put NAME FILE < pin
python -m examples.document_vault MODULE TOKEN_LABEL DATABASE get NAME > file
python -m examples.document_vault MODULE TOKEN_LABEL DATABASE rotate < pin
"""

import sys
from collections.abc import Sequence
from pathlib import Path

from .production import ProductionVault
from .store import Store


def main(arguments: Sequence[str]) -> None:
    """Do one thing with the vault."""
    module, token_label, database, verb, *rest = arguments
    store = Store(Path(database))
    vault = ProductionVault(module, token_label, sys.stdin.readline().rstrip("\n"), store)
    vault.start()
    if verb == "put":
        vault.put(rest[0], Path(rest[1]).read_bytes())
    elif verb == "get":
        sys.stdout.buffer.write(vault.get(rest[0]))
    elif verb == "rotate":
        vault.rotate()
    else:
        sys.exit(f"{verb}: put, get or rotate")
    store.close()


if __name__ == "__main__":
    main(sys.argv[1:])
