"""Real keys: kinds, attributes, mechanisms, masked objects and where randomness comes from."""
