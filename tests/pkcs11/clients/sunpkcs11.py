"""What does a configuration of SunPKCS11 look like that works with CloudHSM?"""

from pathlib import Path

from pytest_hsmcluster import Pkcs11Door

SECRET = ("TOKEN", "PRIVATE", "SENSITIVE", "ENCRYPT", "DECRYPT", "WRAP", "UNWRAP")
PRIVATE = ("TOKEN", "PRIVATE", "SENSITIVE", "SIGN")
PUBLIC = ("TOKEN", "PRIVATE", "VERIFY")


def attributes(what: str, *flags: str, label: str = "") -> str:
    """Return an `attributes` block: what a template has besides what Java puts there.

    Args:
        what: operation, class and kind: `generate, CKO_SECRET_KEY, CKK_AES`.
        flags: names of attributes that are true.
        label: the label of each key that is made under this block; Java has no other place to say it.
    """
    lines = [f"  CKA_{flag} = true" for flag in flags]
    if label:
        lines.append(f"  CKA_LABEL = 0h{label.encode().hex()}")
    return "\n".join((f"attributes({what}) = {{", *lines, "}"))


def working(label: str) -> tuple[str, ...]:
    """Return the blocks with which keys come to be as a Java application wants them."""
    return (
        attributes("generate, CKO_SECRET_KEY, *", *SECRET, label=label),
        attributes("generate, CKO_PRIVATE_KEY, *", *PRIVATE, label=label),
        attributes("generate, CKO_PUBLIC_KEY, *", *PUBLIC, label=label),
        attributes("generate, CKO_PRIVATE_KEY, CKK_RSA", "UNWRAP", "DECRYPT"),
        attributes("generate, CKO_PUBLIC_KEY, CKK_RSA", "WRAP", "ENCRYPT"),
        attributes("import, CKO_PUBLIC_KEY, CKK_RSA", "PRIVATE", "WRAP", "ENCRYPT"),
        attributes("import, CKO_SECRET_KEY, *", *SECRET[1:]),  # the key store itself asks for CKA_TOKEN
        attributes("import, CKO_PRIVATE_KEY, *", *PRIVATE[1:]),
    )


def write_configuration(path: Path, door: Pkcs11Door, *blocks: str) -> Path:
    """Write a configuration for a test's first cluster.

    The slot is given by its place in the list: a slot number is another one in each test.
    """
    path.write_text("\n".join(("name = hsm", f"library = {door.module}", "slotListIndex = 0", *blocks, "")))
    return path
