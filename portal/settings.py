"""Every setting of Casebridge. Nothing else of the application reads the environment.

A value that cannot be read stops the program with one sentence that names the variable. Secrets have no default
that works: `make run` generates them into its data folder, elsewhere they come from the environment.
docs/operations.md lists the variables for the people who set them.
"""

import logging
import os
import tempfile
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import environ
import structlog
from django.core.exceptions import ImproperlyConfigured
from django.templatetags.static import static
from django.urls import reverse_lazy

from portal import alive, logs

BASE_DIR = Path(__file__).resolve().parent.parent
env = environ.Env()


def flag(name: str, default: bool) -> bool:
    """A boolean variable; a misspelt one stops the program instead of counting as false."""
    raw = env.str(name, "").strip().lower()
    if raw == "":
        return default
    if raw in {"1", "true", "yes", "on"}:
        return True
    if raw in {"0", "false", "no", "off"}:
        return False
    raise ImproperlyConfigured(f"{name} must be true or false, not {raw!r}.")


def number(name: str, default: int, least: int = 0) -> int:
    raw = env.str(name, "").strip()
    if raw == "":
        return default
    if not raw.isdigit() or int(raw) < least:
        raise ImproperlyConfigured(f"{name} must be a whole number of at least {least}, not {raw!r}.")
    return int(raw)


def seconds_list(name: str, default: tuple[int, ...]) -> tuple[float, ...]:
    raw = env.str(name, "").strip()
    if raw == "":
        return tuple(float(delay) for delay in default)
    try:
        delays = tuple(float(part) for part in raw.split(","))
    except ValueError:
        delays = (-1.0,)
    if any(not 0 <= delay < 1e8 for delay in delays):
        raise ImproperlyConfigured(f"{name} must be seconds separated by commas, like 10,30,60, not {raw!r}.")
    return delays


def required(name: str, why: str) -> str:
    value = env.str(name, "").strip()
    if not value:
        raise ImproperlyConfigured(f"{name} is not set: {why}")
    return value


def first_of(*names: str) -> str:
    """The first of several spellings that is set; empty when none is."""
    return next((value for name in names if (value := env.str(name, "").strip())), "")


def origin(name: str, value: str) -> str:
    """Scheme and host of an address, without a path or a closing slash."""
    if value == "":
        return ""
    parts = urlsplit(value)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ImproperlyConfigured(f"{name} must be an address like https://example.com, not {value!r}.")
    return f"{parts.scheme}://{parts.netloc}"


# --- Mode and secrets ------------------------------------------------------------------------------------------------

DEBUG = flag("DEBUG", default=False)
SECRET_KEY = required("SECRET_KEY", "set it to at least 50 random characters; it signs sessions.")
if len(SECRET_KEY) < 50 or len(set(SECRET_KEY)) < 10:
    raise ImproperlyConfigured(
        "SECRET_KEY is too weak: set it to at least 50 random characters, such as `openssl rand -hex 32` prints."
    )
ENCRYPTION_KEYS = [
    key.strip()
    for key in required(
        "ENCRYPTION_KEY",
        "set it to at least 32 random characters; it encrypts the stored secrets. Keep a copy: they are lost without.",
    ).split(",")
    if key.strip()
]
if any(len(key) < 32 for key in ENCRYPTION_KEYS):
    raise ImproperlyConfigured("ENCRYPTION_KEY is too short: each key needs at least 32 characters.")

# --- Addresses -------------------------------------------------------------------------------------------------------

# Where Khoros reaches us. LOCAL_URL is where `make run` listens: it serves when nothing else is known and Khoros'
# stand-in is on this machine too (integrations.installation decides).
HEROKU_DOMAIN = env.str("HEROKU_APP_DEFAULT_DOMAIN_NAME", "").strip()
HEROKU_APP_NAME = env.str("HEROKU_APP_NAME", "").strip()
LOCAL_URL = origin("LOCAL_URL", env.str("LOCAL_URL", "").strip())
PUBLIC_URL = origin("PUBLIC_URL", env.str("PUBLIC_URL", "").strip())
if not PUBLIC_URL and HEROKU_DOMAIN:
    PUBLIC_URL = f"https://{HEROKU_DOMAIN}"
HEROKU_APP_HOST = f"{HEROKU_APP_NAME}.herokuapp.com" if HEROKU_APP_NAME else ""
LOOPBACK_HOSTS = ["localhost", "127.0.0.1", "[::1]"]
# In production nobody visits it as "localhost"; health is answered under any name.
IS_ON_THIS_MACHINE = bool(LOCAL_URL) or DEBUG or urlsplit(PUBLIC_URL).hostname in {"localhost", "127.0.0.1", "::1"}
if PUBLIC_URL.startswith("http://") and not IS_ON_THIS_MACHINE:
    raise ImproperlyConfigured(
        f"PUBLIC_URL must begin with https:// (http is for this machine only), not {PUBLIC_URL!r}."
    )

KHOROS_API_URL = origin("KHOROS_API_URL", env.str("KHOROS_API_URL", "").strip() or "https://api.spredfast.com")
# Opens loopback and private addresses and plain http for outgoing calls: for the sandbox and tests.
OUTBOUND_ALLOW_PRIVATE = flag("OUTBOUND_ALLOW_PRIVATE", default=False)
SANDBOX_URL = origin("SANDBOX_URL", env.str("SANDBOX_URL", "").strip())

ALLOWED_HOSTS = [
    *env.list("ALLOWED_HOSTS", default=[]),
    *(LOOPBACK_HOSTS if IS_ON_THIS_MACHINE else []),
    *filter(None, [urlsplit(PUBLIC_URL).hostname or "", HEROKU_APP_HOST]),
]
CSRF_TRUSTED_ORIGINS = [url for url in (PUBLIC_URL, f"https://{HEROKU_APP_HOST}" if HEROKU_APP_HOST else "") if url]

# --- Applications ----------------------------------------------------------------------------------------------------

INSTALLED_APPS = [
    "unfold",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "django.contrib.postgres",
    "django_celery_results",
    "axes",
    "integrations",
]
MIDDLEWARE = [
    "portal.middleware.ContentLengthMiddleware",
    "portal.middleware.HealthMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "portal.middleware.ContentSecurityPolicyMiddleware",
    "portal.middleware.DatabaseOutageMiddleware",
    "integrations.installation.middleware.PublicAddressMiddleware",
    "portal.middleware.AddressedMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "portal.time_zone.TimeZoneMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "axes.middleware.AxesMiddleware",
]
ROOT_URLCONF = "portal.urls"
WSGI_APPLICATION = "portal.wsgi.application"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    },
]
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
LANGUAGE_CODE = "en-us"
TIME_ZONE = "UTC"
USE_TZ = True
USE_I18N = False
FORMAT_MODULE_PATH = ["portal.formats"]  # how the admin shows dates and times

# --- Database and broker ---------------------------------------------------------------------------------------------

DATABASES = {"default": env.db_url_config(required("DATABASE_URL", "set it to a PostgreSQL address, postgres://..."))}
if DATABASES["default"]["ENGINE"] != "django.db.backends.postgresql":
    raise ImproperlyConfigured("DATABASE_URL must name a PostgreSQL database: it must begin with postgres://.")
# A bounded pool per process keeps within small databases' connection limits (the sums are in docs/operations.md). A
# request waits 2 s at most for a connection: a dead database must be answered with 503, not with silence. Nothing is
# left of a connection attempt that failed, so the first request after an outage begins one at once. Our own backend
# checks connections when they are taken, so a restarted database costs nobody an error.
DATABASES["default"]["ENGINE"] = "integrations.infra.postgresql"
DATABASES["default"].setdefault("OPTIONS", {})
DATABASES["default"]["OPTIONS"] |= {
    "connect_timeout": 2,
    "keepalives_idle": 30,
    "tcp_user_timeout": 10_000,
    "pool": {
        "min_size": 1,
        "max_size": number("DATABASE_POOL_SIZE", 8, least=1),
        "timeout": 2,
        "reconnect_timeout": 0,
    },
}
# In workers more threads than connections is normal, and nobody waits for an answer.
WORKER_DATABASE_POOL = {"timeout": 30, "reconnect_timeout": 10}

REDIS_URL = required("REDIS_URL", "set it to a Redis or Valkey address, redis://...")
if flag("REDIS_TLS_INSECURE", default=False) and REDIS_URL.startswith("rediss://"):
    # Heroku's Redis signs its own certificate.
    REDIS_URL += ("&" if "?" in REDIS_URL else "?") + "ssl_cert_reqs=none"

# --- Celery ----------------------------------------------------------------------------------------------------------

SWEEP_SECONDS = number("SWEEP_SECONDS", 15, least=1)
DATA_DIR = Path(env.str("DATA_DIR", "") or tempfile.gettempdir())
CLOCK_FILE = alive.clock_file()

# Threads of a worker, most of which wait. One account gets half of them at most (jobs.in_flight).
WORKER_CONCURRENCY = number("WORKER_CONCURRENCY", 40, least=4)
CELERY = {
    "broker_url": REDIS_URL,
    "result_backend": "django-db",
    # What became of the work is in our own tables; only errors of tasks are worth a row.
    "task_ignore_result": True,
    "task_store_errors_even_if_ignored": True,
    "result_extended": True,
    "task_acks_late": True,
    "worker_prefetch_multiplier": 1,
    "worker_pool": "threads",
    "worker_concurrency": WORKER_CONCURRENCY,
    "worker_hijack_root_logger": False,
    "worker_redirect_stdouts": False,
    "worker_send_task_events": False,
    "worker_enable_remote_control": False,
    "broker_connection_retry_on_startup": True,
    "broker_connection_max_retries": None,
    # A message taken by a worker that died comes back after visibility_timeout; the sweep is quicker, as it reads the
    # rows. The short socket timeouts keep a dead Redis from holding a web process.
    "broker_transport_options": {
        "visibility_timeout": 300,
        "unacked_restore_interval": 5,
        "unacked_restore_throttle": 1,
        "socket_connect_timeout": 1,
        "socket_keepalive": True,
        "max_connections": number("REDIS_MAX_CONNECTIONS", 12, least=4),
    },
    "task_default_queue": "deliver",
    "task_routes": {
        "integrations.jobs.route": {"queue": "intake"},
        "integrations.jobs.route_fetched": {"queue": "fetched"},
        "integrations.jobs.deliver": {"queue": "deliver"},
        "integrations.jobs.*": {"queue": "control"},
    },
    # Separate, as workers take from them in turn: a long queue of deliveries holds up no new notification, and a long
    # list of fetched ones no live one.
    "task_queues_names": ["intake", "fetched", "deliver", "control"],
    "timezone": "UTC",
}

# --- Deliveries ------------------------------------------------------------------------------------------------------

# Seconds between tries; the sum reaches about 24 hours.
DELIVERY_RETRY_DELAYS = seconds_list(
    "DELIVERY_RETRY_DELAYS", (10, 30, 60, 120, 300, 600, 1800, 3600, 7200, 14400, 28800, 28800)
)
DELIVERY_LEASE_SECONDS = number("DELIVERY_LEASE_SECONDS", 90, least=3)
# Posts, requests and attempts are deleted after so many days; 0 keeps them. What was delivered stays known for ever.
CONTENT_KEPT_DAYS = number("CONTENT_KEPT_DAYS", 365, least=0)
# A request that is not complete by then is closed (portal.web_worker).
REQUEST_SECONDS = number("REQUEST_SECONDS", 10, least=1)
INTAKE_MAX_BYTES = number("INTAKE_MAX_BYTES", 1024 * 1024, least=1024)

# --- Khoros ----------------------------------------------------------------------------------------------------------

# Where a person consents, for OAuth.
KHOROS_LOGIN_URL = origin("KHOROS_LOGIN_URL", env.str("KHOROS_LOGIN_URL", "").strip() or "https://login.spredfast.com")
# How long a subscription and its replacement exist side by side before the older is retired.
KHOROS_OVERLAP_SECONDS = number("KHOROS_OVERLAP_SECONDS", 60)
# How often events are fetched: for subscriptions that are pushed too, and for those that are only fetched.
CATCH_UP_SECONDS = number("CATCH_UP_SECONDS", 300, least=5)
PULL_SECONDS = number("PULL_SECONDS", 60, least=5)

# --- Alarms ----------------------------------------------------------------------------------------------------------

# Who gets a mail when an alarm is raised or over; without addresses or a mail server the portal's pages show them.
ALERT_EMAILS = [address.strip() for address in env.str("ALERT_EMAILS", "").split(",") if address.strip()]
ALERT_FROM = env.str("ALERT_FROM", "").strip() or "casebridge@localhost"
if ALERT_EMAILS and not env.str("EMAIL_URL", ""):
    raise ImproperlyConfigured(
        "ALERT_EMAILS is set, but EMAIL_URL is not: set it to a server, smtp+tls://user:password@host:587."
    )
vars().update(env.email_url_config(env.str("EMAIL_URL", "") or "dummymail://"))
EMAIL_TIMEOUT = 10
# How often notifications are counted and alarms updated.
WATCH_SECONDS = number("WATCH_SECONDS", 30, least=1)

# --- The 2017 example's variables (see integrations.operations.first_setup) ----------------------------------------

SEED = {
    "api_token": first_of("SPREDFAST_API_TOKEN"),
    "company_id": first_of("SPREDFAST_COMPANY_ID"),
    "label": first_of("SPREDFAST_LABEL_NAME"),
    "zendesk_url": first_of("ZENDESK_API_URL", "ZENDESK_APP_URL"),
    "zendesk_email": first_of("ZENDESK_USER_EMAIL"),
    "zendesk_token": first_of("ZENDESK_API_TOKEN"),
    "zendesk_client_id": first_of("ZENDESK_OAUTH_CLIENT_ID"),
    "zendesk_client_secret": first_of("ZENDESK_OAUTH_CLIENT_SECRET"),
    "slack_token": first_of("SLACK_BOT_TOKEN"),
    "slack_people": first_of("SLACK_PEOPLE"),
    "slack_url": first_of("SLACK_API_URL") or "https://slack.com",
    "wall_label": first_of("WALL_LABEL"),
    "bearer_token": first_of("NOTIFICATION_BEARER_TOKEN", "NOTIFIER_BEARER_TOKEN"),
}
ADMINISTRATOR = {
    "username": first_of("DJANGO_SUPERUSER_USERNAME") or "admin",
    "password": first_of("DJANGO_SUPERUSER_PASSWORD"),
    "email": first_of("DJANGO_SUPERUSER_EMAIL") or "admin@localhost",
}

# Connections to Redis for permits, wake-ups and health; a thread waits for one.
REDIS_CLIENT_CONNECTIONS = number("REDIS_CLIENT_CONNECTIONS", 16, least=1)

# Who sends this as bearer token is told by /readyz what is missing; others learn yes or no.
READYZ_TOKEN = env.str("READYZ_TOKEN", "").strip()

# --- Security --------------------------------------------------------------------------------------------------------

# Cookies, HSTS and the redirect to https follow the public address; unknown counts as https, except under `make run`.
HTTPS = PUBLIC_URL.startswith("https://") or (not PUBLIC_URL and not LOCAL_URL)
SECURE_SSL_REDIRECT = HTTPS
# A redirected POST is a lost one: behind a proxy that does not say "https", Khoros' calls are still accepted.
SECURE_REDIRECT_EXEMPT = [r"^webhooks/"]
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
SECURE_HSTS_SECONDS = 31_536_000 if HTTPS else 0
# Both bind whoever owns the domain for years, other services under it included, so they are a choice.
SECURE_HSTS_INCLUDE_SUBDOMAINS = HTTPS and flag("HSTS_SUBDOMAINS", default=False)
SECURE_HSTS_PRELOAD = HTTPS and flag("HSTS_PRELOAD", default=False)
SILENCED_SYSTEM_CHECKS = ["security.W005", "security.W021"]  # which ask for the two without a choice
SECURE_REFERRER_POLICY = "same-origin"
SESSION_COOKIE_NAME = "sessionid"
SESSION_COOKIE_SECURE = HTTPS
# Each page begins the time anew: it is how long somebody may be away.
SESSION_COOKIE_AGE = number("SESSION_IDLE_MINUTES", 120, least=1) * 60
SESSION_SAVE_EVERY_REQUEST = True
SESSION_COOKIE_HTTPONLY = True
CSRF_COOKIE_SECURE = HTTPS
CSRF_COOKIE_HTTPONLY = True
X_FRAME_OPTIONS = "DENY"
# Unfold's Alpine evaluates attributes, hence 'unsafe-eval'; no inline script and no foreign host.
CONTENT_SECURITY_POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    "object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator", "OPTIONS": {"min_length": 12}},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
    {"NAME": "django.contrib.auth.password_validation.NumericPasswordValidator"},
]
AUTHENTICATION_BACKENDS = ["axes.backends.AxesStandaloneBackend", "django.contrib.auth.backends.ModelBackend"]
AXES_FAILURE_LIMIT = number("SIGN_IN_FAILURES", 10, least=3)
AXES_COOLOFF_TIME = timedelta(minutes=15)
AXES_RESET_COOL_OFF_ON_FAILURE_DURING_LOCKOUT = False
# Either of them: one user from many addresses, and many users from one.
AXES_LOCKOUT_PARAMETERS = ["username", "ip_address"]
AXES_RESET_ON_SUCCESS = True
AXES_CLIENT_IP_CALLABLE = "portal.client_address.client_address"
AXES_LOCKOUT_TEMPLATE = "too_many_sign_ins.html"
AXES_HTTP_RESPONSE_CODE = 429
AXES_DISABLE_ACCESS_LOG = True
AXES_ENABLE_ADMIN = False
AXES_VERBOSE = False
# How many proxies stand in front: so many entries at the end of X-Forwarded-For are theirs, the rest anybody's.
TRUSTED_PROXIES = number("TRUSTED_PROXIES", 0)
CSRF_FAILURE_VIEW = "portal.errors.form_too_old"
LOGIN_URL = "admin:login"
LOGIN_REDIRECT_URL = "admin:index"
# A person may tick a whole list page of 100 rows plus their fields; Django's default of 1,000 fields is enough. The
# webhook reads its body itself, within INTAKE_MAX_BYTES.
DATA_UPLOAD_MAX_MEMORY_SIZE = 2_621_440

# --- Static files ----------------------------------------------------------------------------------------------------

STATIC_URL = "static/"
# Beside the data where there is a folder for it, so that two portals of one checkout do not share it.
STATIC_ROOT = DATA_DIR / "static" if env.str("DATA_DIR", "") else BASE_DIR / "staticfiles"
STATICFILES_DIRS = [BASE_DIR / "static"]
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": "whitenoise.storage.CompressedManifestStaticFilesStorage"},
}

# --- Logs ------------------------------------------------------------------------------------------------------------

LOG_FORMAT = env.str("LOG_FORMAT", "") or ("console" if DEBUG else "json")
if LOG_FORMAT not in {"json", "console"}:
    raise ImproperlyConfigured(f"LOG_FORMAT must be json or console, not {LOG_FORMAT!r}.")
LOGGING = logs.configuration(LOG_FORMAT, env.str("LOG_LEVEL", "") or "INFO")
structlog.configure(**logs.structlog_configuration())
logging.captureWarnings(capture=True)

# --- Admin theme -----------------------------------------------------------------------------------------------------


def may_view(permission: str) -> Callable[[Any], bool]:
    """Nobody is offered a page that answers 403."""
    return lambda request: bool(request.user.has_perm(permission))


def is_of_deliveries(path: str) -> bool:
    """Failures by cause are an entry of their own below the list's address."""
    deliveries = str(reverse_lazy("admin:integrations_delivery_changelist"))
    return path.startswith(deliveries) and not path.startswith(f"{deliveries}causes/")


UNFOLD = {
    "SITE_TITLE": "Casebridge",
    "SITE_HEADER": "Casebridge",
    "SITE_SUBHEADER": "Takes labelled posts where they belong",
    "SITE_SYMBOL": "mediation",
    "SITE_FAVICONS": [
        {"rel": "icon", "type": "image/svg+xml", "href": lambda _request: static("casebridge.svg")},
    ],
    "SHOW_VIEW_ON_SITE": False,
    "ENVIRONMENT": lambda _request: ["Sandbox", "warning"] if SANDBOX_URL else None,
    "SHOW_BACK_BUTTON": True,
    "BORDER_RADIUS": "6px",
    "DASHBOARD_CALLBACK": "integrations.admin.overview.overview",
    "ACCOUNT": {
        "navigation": [
            {"title": "Your settings", "link": reverse_lazy("account")},
            {"title": "Change password", "link": reverse_lazy("admin:password_change")},
        ]
    },
    "STYLES": [lambda _request: static("casebridge.css")],
    "SCRIPTS": [
        lambda _request: static("keyboard.js"),
        lambda _request: static("forms.js"),
        lambda _request: static("newer.js"),
    ],
    "SIDEBAR": {
        "show_search": False,
        "navigation": [
            {
                "title": "Log",
                "items": [
                    {
                        "title": "Overview",
                        "icon": "monitoring",
                        "link": reverse_lazy("admin:index"),
                        "active": lambda request: request.path == str(reverse_lazy("admin:index")),
                    },
                    {
                        "title": "Deliveries",
                        "icon": "outgoing_mail",
                        "link": reverse_lazy("admin:integrations_delivery_changelist"),
                        "active": lambda request: is_of_deliveries(request.path),
                        "permission": may_view("integrations.view_delivery"),
                    },
                    {
                        "title": "Notifications",
                        "icon": "move_to_inbox",
                        "link": reverse_lazy("admin:integrations_notification_changelist"),
                        "permission": may_view("integrations.view_notification"),
                    },
                    {
                        "title": "Attempts",
                        "icon": "history",
                        "link": reverse_lazy("admin:integrations_attempt_changelist"),
                        "permission": may_view("integrations.view_attempt"),
                    },
                    {
                        "title": "Alarms",
                        "icon": "notifications_active",
                        "link": reverse_lazy("admin:integrations_alarm_changelist"),
                        "permission": may_view("integrations.view_alarm"),
                        "badge": "integrations.admin.overview.open_alarm_count",
                    },
                    {
                        "title": "Failures by cause",
                        "icon": "healing",
                        "link": reverse_lazy("admin:integrations_delivery_causes"),
                        "permission": may_view("integrations.view_delivery"),
                        "badge": "integrations.admin.overview.failed_count",
                    },
                    {
                        "title": "Flood holds",
                        "icon": "flood",
                        "link": reverse_lazy("admin:integrations_floodhold_changelist"),
                        "permission": may_view("integrations.view_floodhold"),
                    },
                    {
                        "title": "Batches",
                        "icon": "stacks",
                        "link": reverse_lazy("admin:integrations_batch_changelist"),
                        "permission": may_view("integrations.view_batch"),
                    },
                ],
            },
            {
                "title": "Walls",
                "items": [
                    {
                        "title": "Walls",
                        "icon": "slideshow",
                        "link": reverse_lazy("admin:integrations_wall_changelist"),
                        "permission": may_view("integrations.view_wall"),
                    },
                    {
                        "title": "Posts on walls",
                        "icon": "forum",
                        "link": reverse_lazy("admin:integrations_wallpost_changelist"),
                        "permission": may_view("integrations.view_wallpost"),
                        "badge": "integrations.admin.walls.waiting_count",
                    },
                ],
            },
            {
                "title": "Khoros",
                "items": [
                    {
                        "title": "Catch-ups",
                        "icon": "sync",
                        "link": reverse_lazy("admin:integrations_catchup_changelist"),
                        "permission": may_view("integrations.view_catchup"),
                    },
                    {
                        "title": "Changes at Khoros",
                        "icon": "edit_note",
                        "link": reverse_lazy("admin:integrations_change_changelist"),
                        "permission": may_view("integrations.view_change"),
                    },
                ],
            },
            {
                "title": "Set-up",
                "items": [
                    {
                        "title": "New integration",
                        "icon": "add_link",
                        "link": reverse_lazy("guide"),
                        "permission": "integrations.admin.guide.may_be_guided",
                    },
                    {
                        "title": "Companies",
                        "icon": "apartment",
                        "link": reverse_lazy("admin:integrations_company_changelist"),
                        "permission": may_view("integrations.view_company"),
                    },
                    {
                        "title": "Subscriptions",
                        "icon": "rss_feed",
                        "link": reverse_lazy("admin:integrations_subscription_changelist"),
                        "permission": may_view("integrations.view_subscription"),
                    },
                    {
                        "title": "Mappings",
                        "icon": "alt_route",
                        "link": reverse_lazy("admin:integrations_mapping_changelist"),
                        "permission": may_view("integrations.view_mapping"),
                    },
                    {
                        "title": "Connections",
                        "icon": "cable",
                        "link": reverse_lazy("admin:integrations_connection_changelist"),
                        "permission": may_view("integrations.view_connection"),
                    },
                ],
            },
            {
                "title": "People",
                "items": [
                    {
                        "title": "Handbook",
                        "icon": "menu_book",
                        "link": reverse_lazy("handbook"),
                    },
                    {
                        "title": "Users",
                        "icon": "person",
                        "link": reverse_lazy("admin:auth_user_changelist"),
                        "permission": may_view("auth.view_user"),
                    },
                ],
            },
        ],
    },
}

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "portal.settings")
