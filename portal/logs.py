"""How log lines look: one JSON object per line in production, readable lines in development, never a secret.

Every library's records pass the same chain as our own, so that `notification_id` and `delivery_id`, bound by
`structlog.contextvars` where a step of the journey begins, are on each line of that step, whoever wrote it.
"""

import re
from collections.abc import MutableMapping
from typing import Any

import structlog

SECRET_NAMES = re.compile(r"authorization|cookie|password|secret|token|api_key|bearer", re.IGNORECASE)
SECRET_TEXT = re.compile(r"(?i)\b(bearer|basic)\s+[a-z0-9._~+/=-]{6,}|//[^/\s:@]+:[^/\s@]+@")
MASK = "[removed]"


def mask_text(text: str) -> str:
    """Removes credentials from running text: Authorization values, and passwords in addresses."""
    return SECRET_TEXT.sub(lambda found: f"//{MASK}@" if found[0].startswith("//") else f"{found[1]} {MASK}", text)


def remove_secrets(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    for name, value in event.items():
        if not name.startswith("_"):
            event[name] = MASK if SECRET_NAMES.search(name) else masked(value)
    return event


def masked(value: Any) -> Any:
    """The value with credentials removed from every text inside it."""
    if isinstance(value, str):
        return mask_text(value)
    if isinstance(value, dict):
        return {name: MASK if SECRET_NAMES.search(str(name)) else masked(inner) for name, inner in value.items()}
    return [masked(inner) for inner in value] if isinstance(value, list | tuple) else value


# Never the local variables of a traceback's frames: they hold headers and tokens.
TRACEBACKS = structlog.processors.ExceptionRenderer(
    structlog.tracebacks.ExceptionDictTransformer(show_locals=False, use_rich=False)
)
PLAIN = structlog.dev.plain_traceback

SHARED = [
    structlog.contextvars.merge_contextvars,
    structlog.stdlib.add_logger_name,
    structlog.stdlib.add_log_level,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
    structlog.stdlib.PositionalArgumentsFormatter(),
]


def configuration(log_format: str, level: str) -> dict[str, Any]:
    """A `logging.config.dictConfig` for the whole process."""
    last: list[Any] = (
        [TRACEBACKS, remove_secrets, structlog.processors.JSONRenderer(ensure_ascii=False)]
        if log_format == "json"
        else [remove_secrets, structlog.dev.ConsoleRenderer(colors=False, pad_event_to=0, exception_formatter=PLAIN)]
    )
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {
            "line": {
                "()": structlog.stdlib.ProcessorFormatter,
                "foreign_pre_chain": SHARED,
                "processors": [structlog.stdlib.ProcessorFormatter.remove_processors_meta, *last],
            }
        },
        "handlers": {"stdout": {"class": "logging.StreamHandler", "stream": "ext://sys.stdout", "formatter": "line"}},
        "root": {"handlers": ["stdout"], "level": level},
        "loggers": {
            # The admin's and the webhook's refusals are answers, not errors of ours.
            "django.request": {"level": "ERROR"},
            "django.security.DisallowedHost": {"level": "CRITICAL"},
            "celery.worker.strategy": {"level": "WARNING"},
            "celery.app.trace": {"level": "WARNING"},
            "celery.beat": {"level": "WARNING"},
            "psycopg.pool": {"level": "ERROR"},
        },
    }


def structlog_configuration() -> dict[str, Any]:
    return {
        "processors": [
            structlog.stdlib.filter_by_level,
            *SHARED,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        "logger_factory": structlog.stdlib.LoggerFactory(),
        "wrapper_class": structlog.stdlib.BoundLogger,
        "cache_logger_on_first_use": True,
    }
