"""Move a module out of a Flask monolith into a service with its own PostgreSQL, without an outage."""
