"""What any run needs and no task knows: run folders, the voice, devices, files, text, safe loading."""
