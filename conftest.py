"""What do all of this repository's own tests need?"""

pytest_plugins = ["pytester"]
