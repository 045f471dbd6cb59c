"""In a running cluster: the application's account and its database."""

from __future__ import annotations

import psycopg
from psycopg import sql

from local.postgres import Cluster

APPLICATION = "forum"
"""The account of the applications: owner of their tables, nothing more."""


def prepare(cluster: Cluster, database: str, password: str) -> None:
    """Make account and database, unless they are there."""
    with psycopg.connect(cluster.dsn(), autocommit=True, connect_timeout=5) as connection:
        if not connection.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", (APPLICATION,)).fetchone():
            connection.execute(
                sql.SQL("CREATE ROLE {} LOGIN PASSWORD {}").format(sql.Identifier(APPLICATION), sql.Literal(password))
            )
        if not connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", (database,)).fetchone():
            connection.execute(
                sql.SQL("CREATE DATABASE {} OWNER {}").format(sql.Identifier(database), sql.Identifier(APPLICATION))
            )


def answers(cluster: Cluster) -> bool:
    try:
        psycopg.connect(cluster.dsn(), connect_timeout=2).close()
    except psycopg.Error:
        return False
    return True
