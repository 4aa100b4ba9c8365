"""Options of the commands: groups that become one value, one file a task."""
