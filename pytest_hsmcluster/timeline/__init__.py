"""Drawing a history: what is worth showing, where it stands, and in which characters."""
