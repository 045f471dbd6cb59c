"""`python -m services.topics.migrate`: make or bring up to date the tables in DATABASE_URL."""

from forum.migrations import main

SCRIPTS = "services.topics:migrations"

if __name__ == "__main__":
    main(SCRIPTS)
