"""What do the tests of all checks share?"""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

HISTORIES = Path(__file__).parent.parent / "histories"


def _story_module() -> ModuleType:
    # Test folders are no packages: the pen is read from its file, once.
    name = "hsmcluster_test_story"
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, HISTORIES / "story.py")
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        spec.loader.exec_module(module)
    return sys.modules[name]


@pytest.fixture
def tell():
    """`tell(*hsms, **note)` begins a story; without HSMs there are three."""
    story = _story_module()
    return lambda *hsms, **note: story.Story(hsms or story.HSMS, **note)


@pytest.fixture
def histories() -> Path:
    """The folder with recorded histories."""
    return HISTORIES
