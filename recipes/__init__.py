"""One file per thing you can run; the file name is the command."""
