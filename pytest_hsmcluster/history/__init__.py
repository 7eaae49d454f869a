"""What happened: events, the journal that collects them, and what follows from them."""
