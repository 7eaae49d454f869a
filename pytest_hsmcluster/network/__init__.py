"""How commands travel between clients and HSMs."""
