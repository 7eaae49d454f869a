"""One night of the production form, from the shell; the PIN comes by standard input.

python -m examples.key_custodian MODULE TOKEN_LABEL LEDGER INVENTORY < pin

It prints what was done, and each command that the operator has to give: PKCS #11 cannot share keys.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

from .inventory import load_inventory
from .ledger import Ledger
from .production import ProductionCustodian


class Told:
    """An operator who works off what is printed."""

    def share(self, label: str, key_id: bytes, user: str) -> None:
        print(self._command("share", key_id, user), f" # {label}")

    def unshare(self, label: str, key_id: bytes, user: str) -> None:
        print(self._command("unshare", key_id, user), f" # {label}")

    def _command(self, verb: str, key_id: bytes, user: str) -> str:
        return f"cloudhsm-cli key {verb} --filter attr.id=0x{key_id.hex()} --username {user} --role crypto-user"


def main(arguments: Sequence[str]) -> None:
    """Do one night's work; fail if something was not managed."""
    module, token_label, ledger, inventory = arguments
    report = ProductionCustodian(
        load_inventory(Path(inventory)),
        Ledger(Path(ledger)),
        module=module,
        token_label=token_label,
        pin=sys.stdin.readline().rstrip("\n"),
        operator=Told(),
    ).run()
    print(report)
    sys.exit(bool(report.of("failed")))


if __name__ == "__main__":
    main(sys.argv[1:])
