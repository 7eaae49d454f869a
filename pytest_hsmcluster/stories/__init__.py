"""What can happen to a cluster, told as values: drawn from a seed, played, and written down as a test."""
