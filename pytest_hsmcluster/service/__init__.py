"""HSMs and the service that keeps them: key stores, accounts, commands, synchronisation, backups."""
