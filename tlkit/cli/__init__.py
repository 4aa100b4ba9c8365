"""People to everything below: the `tlkit` command."""
