"""The commands of the command line, one file each. What they do is done elsewhere; here it is asked for and shown."""
