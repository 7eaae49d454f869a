"""Does the README tell the truth?"""

import re
from pathlib import Path

import pytest

README = Path(__file__).parents[1] / "README.md"
TEXT = README.read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    """Return the fenced blocks of one language, in order."""
    return re.findall(rf"^```{language}\n(.*?)^```", TEXT, flags=re.MULTILINE | re.DOTALL)


def readme_module() -> str:
    return "import pytest\n\n\n" + "\n\n".join(blocks("python"))


def test_the_test_to_copy_passes_and_the_other_one_fails_as_shown(pytester: pytest.Pytester) -> None:
    """Both tests are run as they stand there, and the failure is compared with the one that is printed."""
    pytester.makepyfile(test_payroll=readme_module())
    result = pytester.runpytest_subprocess("-q", "-p", "no:randomly", "-p", "no:cacheprovider")
    result.assert_outcomes(passed=1, failed=1)
    output = result.stdout.str()
    for line in blocks("text")[0].splitlines():
        assert line.strip() in output


def test_its_links_lead_somewhere() -> None:
    """Every relative link of the README and of the pages in docs/ names a file that is there."""
    root = README.parent
    for page in (README, *sorted(root.glob("docs/*.md")), *sorted(root.glob("examples/**/*.md"))):
        for target in re.findall(r"\]\((?!https?:)([^)#\s]+)[^)]*\)", page.read_text(encoding="utf-8")):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


def test_it_opens_with_the_two_commands() -> None:
    """`make demo` and `make test` come before everything else that can be typed, and the Makefile has both."""
    assert re.findall(r"^make (\w+)", blocks("console")[0], re.MULTILINE) == ["demo", "test"]
    makefile = (README.parent / "Makefile").read_text(encoding="utf-8")
    assert re.search(r"^demo:", makefile, re.MULTILINE)
    assert re.search(r"^test:", makefile, re.MULTILINE)
