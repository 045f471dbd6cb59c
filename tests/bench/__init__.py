"""How fast the kit is: `make bench-kit`. Not tests, and nothing here runs with them."""
