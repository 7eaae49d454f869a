"""Which promises did a run break?  Pure functions on a history, live or from a file."""
