"""How long the admin's pages take at a million deliveries, asked for over HTTP as a signed-in administrator."""

import re
import statistics
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from urllib.parse import urlencode

import psycopg
import urllib3
from psycopg import sql

from bench import notification, words
from bench.ground import Ground, Portal
from bench.report import Row, Section
from integrations.infra.packing import pack

LIST_GOAL_MS = 150.0
SEARCH_GOAL_MS = 200.0
TIMES = 7
# A page this slow is asked for less often, so that one bad query does not stretch the whole run.
SLOW_MS = 1500.0
DELIVERIES = "/admin/integrations/delivery/"
NOTIFICATIONS = "/admin/integrations/notification/"
ATTEMPTS = "/admin/integrations/attempt/"


@dataclass(frozen=True)
class Page:
    what: str
    path: str
    goal_ms: float = LIST_GOAL_MS


def measure(ground: Ground) -> Section:
    count = 200_000 if ground.quick else 1_000_000
    with ground.portal("http://127.0.0.1:9") as portal:
        portal.manage("collectstatic", "--noinput", "--verbosity", "0")
        began = time.monotonic()
        fill(portal, count)
        ground.say(f"{count:,} deliveries made in {time.monotonic() - began:.0f} s")
        portal.start("web")
        browser = Browser(portal.port, ground.admin_password)
        rows = [_row(ground, browser, page) for page in pages(portal, count)]
    return Section(f"Pages at {count:,} deliveries, notifications and attempts", rows, [REMARK])


REMARK = f"Whole pages over HTTP, median of {TIMES} after two to warm up; the slowest of them beside it."


def _row(ground: Ground, browser: "Browser", page: Page) -> Row:
    times = browser.times(page.path)
    middle = statistics.median(times)
    ground.say(f"{page.what}: {middle:.0f} ms")
    return Row(
        page.what,
        f"{middle:.0f} ms",
        f"slowest {max(times):.0f} ms",
        "",
        f"<= {page.goal_ms:.0f} ms",
        middle <= page.goal_ms,
    )


def pages(portal: Portal, count: int) -> list[Page]:
    mapping, connection = portal.execute(
        "SELECT mapping_id, connection_id FROM integrations_delivery ORDER BY mapping_id DESC LIMIT 1"
    )[0]
    filters = [
        ("plain", ""),
        ("state failed", "state__exact=failed"),
        ("state delivered", "state__exact=delivered"),
        ("the smaller mapping", f"mapping__id__exact={mapping}"),
        ("the smaller connection", f"connection__id__exact={connection}"),
        ("a large network", "network=twitter"),
        ("a small network", "network=youtube"),
        ("past 24 hours", "time=day"),
        ("older than 30 days", "time=older"),
        ("failed on a small network", "state__exact=failed&network=youtube"),
        ("status open", "ticket=open"),
        ("page 50", "p=50"),
    ]
    # Chosen so that nothing special is about the row: neither the first nor the last.
    some = count // 3
    post, ticket = portal.execute(
        "SELECT post_id, number FROM integrations_delivery d JOIN integrations_remoteobject r"
        " ON r.id = d.remote_object_id WHERE d.id = %s",
        some,
    )[0]
    native = post.partition(":")[2]
    searches = [
        ("by post id", post),
        ("by native id", native),
        ("by ticket number", ticket),
        ("by author", "Author 777"),
        ("by a rare word", words.RARE),
        ("by a common word", words.COMMON),
        ("by a word that is nowhere", words.ABSENT),
        ("by two letters", "zu"),
    ]
    return [
        *(Page(f"overview, {name}", f"/admin/?period={name}") for name in ("day", "week", "month")),
        Page("what happened to a post", f"/admin/find/?post={post}"),
        *(
            Page(f"find {name}", f"/admin/find/?{urlencode({'q': term})}", SEARCH_GOAL_MS)
            for name, term in (
                ("by a copied link", f"https://x.com/ann/status/{native}?s=20&t=abc"),
                ("by two words", f"{words.RARE} {words.COMMON}"),
                ("by two characters of Chinese", "在哪"),
                ("by what is nowhere", "https://x.com/ann/status/1"),
            )
        ),
        Page("deliveries, waiting for more than an hour", f"{DELIVERIES}?needs=waits_too_long"),
        Page("a list that is open: its newer rows", f"{DELIVERIES}shown/"),
        *(Page(f"deliveries, {name}", f"{DELIVERIES}?{query}") for name, query in filters),
        *(
            Page(f"search deliveries {name}", f"{DELIVERIES}?{urlencode({'q': term})}", SEARCH_GOAL_MS)
            for name, term in searches
        ),
        Page(
            "search failed deliveries by a common word",
            f"{DELIVERIES}?q={words.COMMON}&state__exact=failed",
            SEARCH_GOAL_MS,
        ),
        Page("one delivery", f"{DELIVERIES}{some}/change/"),
        Page("notifications, plain", NOTIFICATIONS),
        Page("notifications, unmatched", f"{NOTIFICATIONS}?state__exact=unmatched"),
        *(
            Page(f"search notifications {name}", f"{NOTIFICATIONS}?{urlencode({'q': term})}", SEARCH_GOAL_MS)
            for name, term in (searches[0], *searches[4:7], ("by their number", str(some)))
        ),
        Page("attempts, plain", ATTEMPTS),
        Page("attempts, refused", f"{ATTEMPTS}?outcome__exact=refused"),
        Page("attempts, past 24 hours", f"{ATTEMPTS}?time=day"),
    ]


class Browser:
    """A signed-in administrator. Raises RuntimeError for a page that does not answer 200."""

    def __init__(self, port: int, password: str) -> None:
        self._http = urllib3.HTTPConnectionPool("127.0.0.1", port, maxsize=1, retries=False, timeout=90.0)
        self._cookies: dict[str, str] = {}
        form = self._ask("GET", "/admin/login/").data.decode()
        found = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', form)
        if found is None:
            raise RuntimeError("The sign-in page has no form.")
        fields = {"csrfmiddlewaretoken": found[1], "username": "admin", "password": password, "next": "/admin/"}
        answer = self._ask("POST", "/admin/login/", urlencode(fields).encode())
        if answer.status != 302:
            raise RuntimeError(f"Signing in was answered with {answer.status}.")

    def times(self, path: str) -> list[float]:
        """Milliseconds of each repetition, warm."""
        warm_up = self._timed(path)
        if warm_up > SLOW_MS:
            return [self._timed(path) for _ in range(2)]
        self._timed(path)
        return [self._timed(path) for _ in range(TIMES)]

    def _timed(self, path: str) -> float:
        began = time.perf_counter()
        answer = self._ask("GET", path)
        # Where one post was meant, the box leads on to its way.
        was_found = answer.status == 302 and answer.headers["Location"].startswith("/admin/find/")
        if answer.status != 200 and not was_found:
            raise RuntimeError(f"{path} was answered with {answer.status}.")
        return (time.perf_counter() - began) * 1000

    def _ask(self, method: str, path: str, body: bytes | None = None) -> urllib3.BaseHTTPResponse:
        headers = {"Cookie": "; ".join(f"{name}={value}" for name, value in self._cookies.items())}
        if body is not None:
            headers["Content-Type"] = "application/x-www-form-urlencoded"
        answer = self._http.request(method, path, body=body, headers=headers, redirect=False)
        for cookie in answer.headers.getlist("Set-Cookie"):
            name, _, value = cookie.partition(";")[0].partition("=")
            self._cookies[name] = value
        return answer


# --- A million rows --------------------------------------------------------------------------------------------------


def fill(portal: Portal, count: int) -> None:
    """Indexes are recreated after the rows, which takes a fraction of the time."""
    portal.rows("mappings", "1")
    with _bulk_connection(portal) as connection:
        indexes = _without_indexes(connection)
        _with_defaults(connection)
        connection.execute("CREATE UNLOGGED TABLE bench_words (i bigint, words text)")
        with connection.cursor().copy("COPY bench_words FROM STDIN") as copy:
            for number, text in enumerate(words.texts(count), 1):
                copy.write_row((number, text))
        connection.execute(TEXTS.encode(), {"count": count})
        first = [FILL_NOTIFICATIONS, FILL_NOTIFICATION_CONTENT.format(body=_packed(notification.body(1, 1)))]
        second = [FILL_REMOTE_OBJECTS, FILL_DELIVERIES, FILL_ATTEMPTS.format(exchanges=_packed(EXCHANGES))]
        _at_once(portal, [[*first, FILL_POSTS], second])
        connection.execute(FILL_DELIVERY_CONTENT.format(request=_packed(REQUEST)).encode())
        connection.execute("DROP TABLE bench_texts, bench_words")
        connection.execute(DENSE_TEXTS.encode())
        # The two trigram indexes take the longest: each of the two scripts starts with one.
        indexes.sort(key=lambda definition: "gin_trgm_ops" not in definition)
        _at_once(portal, [indexes[0::2], indexes[1::2]])
        connection.execute("VACUUM (ANALYZE)")


def _bulk_connection(portal: Portal) -> psycopg.Connection:
    options = "-c synchronous_commit=off -c maintenance_work_mem=512MB -c max_parallel_maintenance_workers=0"
    return psycopg.connect(portal.environment["DATABASE_URL"], autocommit=True, options=options)


# One post in a hundred is in a script without spaces.
DENSE_TEXTS = """
UPDATE integrations_postcontent SET search_text = '李小龙' || chr(10) || '包裹在哪里 ' || id,
  pairs = ARRAY['李小', '小龙', '包裹', '裹在', '在哪', '哪里']
WHERE id % 100 = 0
"""

# What pages of one row show; each row has the same.
REQUEST = b'{"ticket":{"subject":"CreateCase","comment":{"body":"A post","public":false},"tags":["khoros"]}}'
EXCHANGES = b'[{"method":"POST","url":"https://example.zendesk.com/api/v2/tickets.json","status":201,"reply":"{}"}]'


def _packed(raw: bytes) -> str:
    return pack(raw).hex()


def _at_once(portal: Portal, scripts: list[list[str]]) -> None:
    """Runs the statements of each script in order, the scripts in parallel."""

    def work(statements: list[str]) -> None:
        with _bulk_connection(portal) as connection:
            for statement in statements:
                connection.execute(statement.encode())

    with ThreadPoolExecutor(len(scripts)) as threads:
        list(threads.map(work, scripts))


def _without_indexes(connection: psycopg.Connection) -> list[str]:
    """Drops foreign keys and plain indexes of the log's tables and returns the statements that make the indexes."""
    keys = connection.execute(
        "SELECT format('ALTER TABLE %%I DROP CONSTRAINT %%I', conrelid::regclass::text, conname) FROM pg_constraint"
        " WHERE contype = 'f' AND conrelid::regclass::text = ANY(%s)",
        [LOG_TABLES],
    ).fetchall()
    indexes = connection.execute(
        "SELECT indexname, indexdef FROM pg_indexes JOIN pg_class ON relname = indexname"
        " WHERE tablename = ANY(%s) AND pg_class.oid NOT IN (SELECT conindid FROM pg_constraint)",
        [LOG_TABLES],
    ).fetchall()
    for (statement,) in keys:
        connection.execute(statement)
    for name, _ in indexes:
        connection.execute(sql.SQL("DROP INDEX {}").format(sql.Identifier(name)))
    return [definition for _, definition in indexes]


def _with_defaults(connection: psycopg.Connection) -> None:
    """Columns that the statements below do not name stay empty: a new column needs no change here."""
    columns = connection.execute(
        "SELECT table_name, column_name, data_type FROM information_schema.columns WHERE table_name = ANY(%s)"
        " AND is_nullable = 'NO' AND column_default IS NULL AND is_identity = 'NO'",
        [LOG_TABLES],
    ).fetchall()
    for table, column, kind in columns:
        if kind in EMPTY:
            statement = sql.SQL("ALTER TABLE {} ALTER COLUMN {} SET DEFAULT {}")
            names = sql.Identifier(table), sql.Identifier(column)
            connection.execute(statement.format(*names, sql.Literal(EMPTY[kind])))


EMPTY = {"text": "", "character varying": "", "jsonb": "[]", "bytea": "", "boolean": False, "integer": 0, "bigint": 0}

LOG_TABLES = [
    f"integrations_{name}"
    for name in (
        "notification", "notificationcontent", "postcontent", "remoteobject", "delivery", "deliverycontent", "attempt",
    )
]  # fmt: skip

TEXTS = """
CREATE UNLOGGED TABLE bench_texts AS
SELECT i, 'Author ' || (i * 7919 %% 50000) AS author, 'author_' || (i * 7919 %% 50000) AS handle,
    (ARRAY['twitter', 'twitter', 'twitter', 'twitter', 'facebook', 'facebook', 'instagram', 'linkedin', 'tiktok',
        'twitter'])[1 + i %% 10] AS main_network,
    now() - (%(count)s - i) * (interval '400 days' / %(count)s) AS at,
    words
FROM bench_words
"""

NETWORK = "CASE WHEN i % 997 = 0 THEN 'youtube' ELSE main_network END"
POST = f"{NETWORK} || ':' || 800000000000000000 + i"

FILL_NOTIFICATIONS = """
INSERT INTO integrations_notification (id, subscription_id, event_key, source, state, reason, received_at, routed_at,
    repeats)
SELECT i, s.id, gen_random_uuid(), 'pushed', CASE WHEN i % 331 = 0 THEN 'unmatched' ELSE 'routed' END,
    CASE WHEN i % 331 = 0 THEN 'No mapping asked for it.' ELSE '' END, at, at + interval '1 second', 0
FROM bench_texts, (SELECT id FROM integrations_subscription LIMIT 1) s
"""

FILL_NOTIFICATION_CONTENT = """
INSERT INTO integrations_notificationcontent (notification_id, event_key, event_name, body)
SELECT i, 'uuid:' || gen_random_uuid(), 'stream-item-label-applied', '\\x{body}'::bytea FROM bench_texts
"""

FILL_POSTS = f"""
INSERT INTO integrations_postcontent (id, notification_id, position, post_id, search_text, link)
SELECT i, i, 0, {POST}, author || ' (@' || handle || ')' || E'\\n' || words,
    'https://' || {NETWORK} || '.example.com/' || handle || '/status/' || 800000000000000000 + i
FROM bench_texts
"""

# 97 of 100 delivered, some failed, a few cancelled, a few waiting for a moment far off.
STATE = """CASE WHEN i % 40 = 11 THEN 'failed' WHEN i % 400 = 17 THEN 'cancelled' WHEN i % 2000 = 13 THEN 'pending'
    ELSE 'delivered' END"""
MAPPING = """JOIN (SELECT *, row_number() OVER (ORDER BY id) AS place FROM integrations_mapping) m
    ON m.place = CASE WHEN i % 50 = 3 THEN 2 ELSE 1 END"""

FILL_REMOTE_OBJECTS = f"""
INSERT INTO integrations_remoteobject (id, connection_id, mapping_id, number, url, posted_at, created_at,
    last_delivered_at, status, assignee, changed_at, solved_at)
SELECT i, m.connection_id, m.id, (4000 + i)::text, 'https://example.zendesk.com/agent/tickets/' || 4000 + i,
    at - interval '1 hour', at + interval '2 seconds', at + interval '2 seconds',
    CASE WHEN i % 100 < 3 THEN 'open' ELSE 'closed' END, 'Ann Agent', at + interval '1 day',
    CASE WHEN i % 100 >= 3 THEN at + interval '1 day' END
FROM bench_texts {MAPPING} WHERE {STATE} = 'delivered'
"""

FILL_DELIVERIES = f"""
INSERT INTO integrations_delivery (id, notification_id, mapping_id, connection_id, post_id, network, posted_at,
    event_at, key_version, key_used_at, was_refused, state, tries, attempt_count, next_attempt_at,
    last_error, cause,
    result, remote_object_id, delivered_at, created_at, is_prepared)
SELECT i, i, m.id, m.connection_id, {POST}, {NETWORK}, at - interval '1 hour', at,
    1, at, {STATE} = 'failed', {STATE}, 1, 1,
    CASE WHEN {STATE} = 'pending' THEN now() + interval '30 days' END,
    CASE WHEN {STATE} = 'failed' THEN 'Zendesk refuses this ticket: Subject is refused by a rule.' ELSE '' END,
    CASE WHEN {STATE} = 'failed' THEN 'Subject is refused by a rule.' ELSE '' END,
    CASE WHEN {STATE} = 'delivered' THEN 'created' ELSE '' END, CASE WHEN {STATE} = 'delivered' THEN i END,
    CASE WHEN {STATE} = 'delivered' THEN at + interval '2 seconds' END, at, true
FROM bench_texts {MAPPING}
"""

FILL_DELIVERY_CONTENT = f"""
INSERT INTO integrations_deliverycontent (delivery_id, post_id, external_id, request)
SELECT i, i, 'khoros:' || {POST} || ':' || m.uuid, '\\x{{request}}'::bytea FROM bench_texts {MAPPING}
"""

FILL_ATTEMPTS = """
INSERT INTO integrations_attempt (delivery_id, number, key_version, started_at, finished_at, outcome, status,
    duration_ms, meaning, exchanges)
SELECT id, 1, 1, created_at + interval '1 second', created_at + interval '2 seconds',
    CASE WHEN state = 'failed' THEN 'refused' ELSE 'delivered' END, CASE WHEN state = 'failed' THEN 422 ELSE 201 END,
    300 + id % 700, CASE WHEN state = 'failed' THEN last_error ELSE 'Created ticket ' || id || '.' END,
    '\\x{exchanges}'::bytea
FROM integrations_delivery WHERE state <> 'pending'
"""
