"""`python -m loadtest`."""

from loadtest.cli import main

main(prog_name="loadtest")
