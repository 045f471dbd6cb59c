"""The proof: Locust users, a ledger of every write, and a check that fails on any broken promise."""
