"""One file per thing you can cook; the file name is the command."""
