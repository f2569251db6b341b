"""The backend that `DATABASES` names. Django finds it by this module's name.

Django's pool asks the server before every request whether the connection is alive, a round trip each. Here the socket
tells: a server that ended, or ended the session, has closed it. Only after a rest the server is asked, as a firewall
may have dropped the connection without a word.
"""

import select
import time
from typing import Any
from weakref import WeakKeyDictionary

import psycopg
from django.db import OperationalError
from django.db.backends.postgresql import base
from psycopg_pool import ConnectionPool

from integrations.infra.postgresql import outage

ASKED_AFTER_SECONDS = 5.0

_returned_at: WeakKeyDictionary[psycopg.Connection, float] = WeakKeyDictionary()


class DatabaseWrapper(base.DatabaseWrapper):
    """One thread's connection; the pool behind it belongs to the process."""

    def get_new_connection(self, conn_params: dict[str, Any]) -> Any:
        """A connection that works. Raises OperationalError when there is none in time."""
        while True:
            taken = super().get_new_connection(conn_params)
            outage.using(taken)
            if self.pool is None or is_alive(taken):
                return taken
            outage.no_longer_using()
            taken.close()
            self.pool.putconn(taken)
            if outage.is_time_over():
                raise OperationalError("The time of this request was over before PostgreSQL answered.")

    def _close(self) -> None:
        if self.connection is not None:
            outage.no_longer_using()
            _returned_at[self.connection] = time.monotonic()
        super()._close()  # type: ignore[misc]  # the stubs leave it out


def is_alive(connection: psycopg.Connection) -> bool:
    """Whether this connection, just taken from the pool, still leads to a server."""
    rested = time.monotonic() - _returned_at.get(connection, 0.0)
    if not _has_word_from_server(connection) and rested < ASKED_AFTER_SECONDS:
        return True
    try:
        ConnectionPool.check_connection(connection)
    except psycopg.Error:
        return False
    return True


def _has_word_from_server(connection: psycopg.Connection) -> bool:
    """Whether there is something to read: between two statements that is a farewell, or the end of the stream."""
    if connection.closed:
        return True
    poll = select.poll()
    poll.register(connection.fileno(), select.POLLIN)
    return bool(poll.poll(0))
