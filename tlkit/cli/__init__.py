"""The `tlkit` command: people to everything below. click lives here."""
