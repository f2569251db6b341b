"""The table of the floors' rows, known to the floors' server and to the measurement that makes it."""

TABLE = "bench_floor"
MAKE_TABLE = f"CREATE TABLE {TABLE} (id bigserial PRIMARY KEY, event text NOT NULL, body bytea NOT NULL)"
QUEUE = "bench-floor"
