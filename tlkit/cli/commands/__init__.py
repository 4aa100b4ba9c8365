"""One file a verb of the `tlkit` command."""
