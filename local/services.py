"""The database and the broker of a run: embedded ones, or those that DATABASE_URL and REDIS_URL name."""

from dataclasses import dataclass

from local.data import DataFolder
from local.postgres import create_database, start_postgres
from local.supervisor import Supervisor
from local.valkey import start_valkey


@dataclass(frozen=True)
class Services:
    database_url: str
    redis_url: str


def start_services(
    supervisor: Supervisor,
    data: DataFolder,
    *,
    given: Services,
    database: str,
    redis_database: int,
    avoid: set[int],
    durable: bool = True,
    shown_in_log: bool = True,
) -> Services:
    """Empty addresses in `given` are filled in by a server started here."""
    secrets = data.secrets()
    database_url, redis_url = given.database_url, given.redis_url
    if not database_url:
        server = start_postgres(
            supervisor, data.path, secrets["postgres_password"], avoid, durable=durable, shown_in_log=shown_in_log
        )
        database_url = create_database(server, database)
    if not redis_url:
        broker = start_valkey(supervisor, data.path, secrets["valkey_password"], avoid, shown_in_log=shown_in_log)
        redis_url = broker.url(redis_database)
    return Services(database_url, redis_url)
