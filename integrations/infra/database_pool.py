"""Giving the database connection back before waiting for others."""

from django.db import connection


def release_database() -> None:
    """Back to the pool while we wait for others: a small database allows fewer connections than we have threads."""
    if not connection.in_atomic_block:
        connection.close()
