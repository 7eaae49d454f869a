"""Which key may leave under which other, and what must it be when it comes back?"""

from ..cryptoki import CKA, CKR
from ..errors import KeyFunctionNotPermitted, KeyUnextractable, TemplateInvalid
from .attribute_map import Attributes, Template


def check_wrappable(wrapping: Attributes, target: Attributes) -> None:
    """Refuse to let a key leave under a wrapping key that may not carry it.

    Raises:
        KeyUnextractable: the target is not extractable, or wants a trusted wrapping key
            (`ckr` KEY_NOT_WRAPPABLE).
        KeyFunctionNotPermitted: the wrapping key's WRAP_TEMPLATE does not match the
            target (`ckr` KEY_HANDLE_INVALID, as PKCS #11 v2.40, C_WrapKey, has it).
    """
    if not target.flag(CKA.EXTRACTABLE):
        raise KeyUnextractable("this key has CKA_EXTRACTABLE false: it cannot be wrapped")
    if target.flag(CKA.WRAP_WITH_TRUSTED) and not wrapping.flag(CKA.TRUSTED):
        raise KeyUnextractable(
            "this key has CKA_WRAP_WITH_TRUSTED: it leaves only under a key that a crypto officer marked CKA_TRUSTED",
            ckr=CKR.KEY_NOT_WRAPPABLE,
        )
    wanted = wrapping.get(CKA.WRAP_TEMPLATE)
    if isinstance(wanted, Attributes):
        for key, value in wanted.items():
            if target.get(key) != value:
                raise KeyFunctionNotPermitted(
                    f"the wrapping key's CKA_WRAP_TEMPLATE wants another CKA_{key.name} than this key has",
                    ckr=CKR.KEY_HANDLE_INVALID,
                )


def with_unwrap_template(unwrapping: Attributes, template: Template | None) -> dict[CKA, object]:
    """Return the caller's template together with the unwrapping key's UNWRAP_TEMPLATE.

    Raises:
        TemplateInvalid: they contradict each other (TEMPLATE_INCONSISTENT).
    """
    both: dict[CKA, object] = dict(template or {})
    wanted = unwrapping.get(CKA.UNWRAP_TEMPLATE)
    if isinstance(wanted, Attributes):
        for key, value in wanted.items():
            if both.setdefault(key, value) != value:
                raise TemplateInvalid(
                    f"CKA_{key.name}: the template contradicts the unwrapping key's CKA_UNWRAP_TEMPLATE",
                    ckr=CKR.TEMPLATE_INCONSISTENT,
                )
    return both
