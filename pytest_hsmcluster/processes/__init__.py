"""How HSMs live in processes of their own."""
