"""The vault's own test suite, as a team that uses pytest-hsmcluster would write it."""
