"""What does the C library know of the functions?

It is generated from the table, so that both ends of the wire say the same: `python c_source.py FILE` writes it.
"""

import sys
from pathlib import Path

# Beside the package for tests and tools, alone for the build, which has nothing of the package installed.
try:
    from .functions import FUNCTIONS, IN, LIMIT, SHAPES, STRUCTS, VERSION, Function
except ImportError:
    sys.path.insert(0, str(Path(__file__).parent))
    from functions import FUNCTIONS, IN, LIMIT, SHAPES, STRUCTS, VERSION, Function  # type: ignore[import-not-found,no-redef]


def c_source() -> str:
    """Return `functions.inc`: numbers, structs, what each function takes, and the functions themselves."""
    return "\n".join(
        [
            f"#define WIRE_VERSION {VERSION}",
            f"#define FRAME_LIMIT {LIMIT}",
            f"#define MOST_ARGUMENTS {max(len(function.takes) for function in FUNCTIONS)}",
            "",
            f"enum kind {{ END, {', '.join(map(_constant, IN))} }};",
            f"enum shape {{ PLAIN, {', '.join(sorted({shape.upper() for shape in SHAPES.values()}))} }};",
            "",
            *(f"static const struct field {name}_FIELDS[] = {{{_fields(name)}{{0, 0}}}};" for name in STRUCTS),
            "",
            "static const struct field *fields_of(enum kind kind)",
            "{",
            "    switch (kind) {",
            *(f"    case {_constant(name)}: return {name}_FIELDS;" for name in STRUCTS),
            "    default: return NULL;",
            "    }",
            "}",
            "",
            "static enum shape shape_of(CK_MECHANISM_TYPE type)",
            "{",
            "    switch (type) {",
            *(f"    case 0x{number:08X}UL: return {shape.upper()};" for number, shape in SHAPES.items()),
            "    default: return PLAIN;",
            "    }",
            "}",
            "",
            *(_definition(function) for function in FUNCTIONS if "functions" not in function.takes),
            f"#define ALL_FUNCTIONS {', '.join(function.name for function in FUNCTIONS)}",
            "",
        ]
    )


def _constant(kind: str) -> str:
    return f"{kind.removeprefix('CK_')}_ARG".upper()


def _fields(name: str) -> str:
    fields = [field.partition(":") for field in STRUCTS[name].split()]
    return "".join(f"{{offsetof({name}, {field}), {size or 'sizeof(CK_ULONG)'}}}, " for field, _, size in fields)


def _definition(function: Function) -> str:
    """Return one function: it hands its arguments on, behind a list of what they are."""
    types = [type_ for kind in function.takes for type_ in IN[kind].split()]
    names = [f"a{number}" for number in range(len(types))]
    declared = ", ".join(f"{type_} {name}" for type_, name in zip(types, names, strict=True))
    if not function.offered:
        ignored = "".join(f"(void){name}; " for name in names)
        return f"CK_RV {function.name}({declared})\n{{\n    {ignored}return CKR_FUNCTION_NOT_SUPPORTED;\n}}\n"
    kinds = ", ".join([*map(_constant, function.takes), "END"])
    return (
        f"CK_RV {function.name}({declared})\n{{\n"
        f"    static const unsigned char takes[] = {{{kinds}}};\n"
        f"    return call({function.number}, takes, {', '.join(names)});\n}}\n"
    )


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(c_source(), encoding="ascii")
