"""Three ways to move a module that people try first, and the kit's; see docs/labs/naive.md."""
