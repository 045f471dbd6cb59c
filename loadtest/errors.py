"""What a person can mend: said in one line, exit 2."""


class LoadtestError(Exception):
    """The message names what is wrong and the mend."""
