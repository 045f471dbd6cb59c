"""`strangler analyze`: where the seams of a monolith are."""
