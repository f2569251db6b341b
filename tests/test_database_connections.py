"""The pool's connections: a dead one is noticed when it is taken, and nobody sees an error for it."""

import time

import psycopg
import pytest
from django.db import DEFAULT_DB_ALIAS, DataError, OperationalError, connection, connections, transaction
from psycopg_pool import ConnectionPool

from integrations.infra.database_pool import release_database
from integrations.infra.postgresql import base, outage, prepared

pytestmark = pytest.mark.django_db(transaction=True)


def process_of_the_server() -> int:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        return int(cursor.fetchone()[0])


def end_on_the_server(pid: int) -> None:
    with psycopg.connect(**connections[DEFAULT_DB_ALIAS].get_connection_params()) as other:
        other.execute("SELECT pg_terminate_backend(%s, 5000)", [pid])


def test_a_connection_that_the_server_ended_is_replaced_when_it_is_taken() -> None:
    ended = process_of_the_server()
    connection.close()
    end_on_the_server(ended)
    assert process_of_the_server() != ended


def test_a_connection_used_a_moment_ago_is_taken_without_asking_the_server(monkeypatch: pytest.MonkeyPatch) -> None:
    connection.ensure_connection()
    taken = connection.connection
    connection.close()
    asked: list[object] = []
    monkeypatch.setattr(ConnectionPool, "check_connection", asked.append)
    assert base.is_alive(taken)
    assert not asked
    base._returned_at[taken] = time.monotonic() - base.ASKED_AFTER_SECONDS
    assert base.is_alive(taken)
    assert asked == [taken]


def test_a_request_whose_time_is_over_gets_an_error_instead_of_waiting_for_a_statement() -> None:
    with outage.Limit(0.2), connection.cursor() as cursor:
        slow = process_of_the_server()
        with pytest.raises(OperationalError):
            cursor.execute("SELECT pg_sleep(60)")
    connection.close()
    end_on_the_server(slow)
    assert process_of_the_server() != slow


def test_a_request_that_is_done_in_time_keeps_its_connection() -> None:
    with outage.Limit(0.2):
        first = process_of_the_server()
    time.sleep(0.3)
    assert process_of_the_server() == first


def test_a_page_that_waits_for_another_system_has_time_for_the_database_afterwards() -> None:
    with outage.Limit(0.2, in_all=False):
        process_of_the_server()
        release_database()
        time.sleep(0.4)
        assert process_of_the_server()


def test_no_free_slot_is_no_outage() -> None:
    parameters = connections[DEFAULT_DB_ALIAS].get_connection_params()
    with psycopg.connect(**parameters, autocommit=True) as administrator:
        administrator.execute("CREATE ROLE guest LOGIN PASSWORD 'guest' CONNECTION LIMIT 0")
        try:
            with pytest.raises(psycopg.OperationalError) as refused:
                psycopg.connect(**parameters | {"user": "guest", "password": "guest"})
        finally:
            administrator.execute("DROP ROLE guest")
    assert outage._is_full(refused.value)


def test_an_error_that_the_server_sends_about_a_statement_is_no_outage() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SET statement_timeout = 50")
        with pytest.raises(OperationalError) as timed_out:
            cursor.execute("SELECT pg_sleep(10)")
        cursor.execute("SET statement_timeout = 0")
    assert not outage.suspect(timed_out.value)


# --- Prepared statements ---------------------------------------------------------------------------------------------


def prepared_statements() -> list[str]:
    with connection.cursor() as cursor:
        cursor.execute("SELECT statement FROM pg_prepared_statements")
        return [statement for (statement,) in cursor.fetchall()]


def test_a_statement_is_planned_once_for_a_connection() -> None:
    for number in range(3):
        assert prepared.row_of("SELECT %(number)s::int + 1", {"number": number}) == (number + 1,)
    assert prepared_statements().count("SELECT $1::int + 1") == 1


def test_where_sessions_change_between_statements_it_goes_on_without(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prepared, "_are_kept", True)
    assert prepared.row_of("SELECT %(number)s::int * 2", {"number": 1}) == (2,)
    # As behind a pooler that gave the session to somebody else meanwhile: psycopg does not hear of it.
    connection.connection.pgconn.exec_(b"DEALLOCATE ALL")
    assert prepared.row_of("SELECT %(number)s::int * 2", {"number": 2}) == (4,)
    assert not prepared._are_kept
    assert prepared.row_of("SELECT %(number)s::int * 2", {"number": 3}) == (6,)


def test_its_errors_are_those_of_django() -> None:
    with pytest.raises(DataError):
        prepared.row_of("SELECT %(text)s::int", {"text": "x"})


def test_within_a_transaction_nothing_is_prepared() -> None:
    with transaction.atomic():
        assert prepared.row_of("SELECT %(number)s::int - 1", {"number": 1}) == (0,)
    assert "SELECT $1::int - 1" not in prepared_statements()
