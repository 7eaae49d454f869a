"""HSMs as processes of their own, on a real network."""
