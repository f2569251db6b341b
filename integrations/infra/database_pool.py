"""Returning the database connection to the pool before waiting for a remote system."""

from django.db import connection


def release_database() -> None:
    """Returns this thread's connection: a small database allows fewer connections than we have threads."""
    if not connection.in_atomic_block:
        connection.close()
