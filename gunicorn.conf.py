"""The web server: two processes with a few threads each serve the webhook and the admin (see docs/architecture.md)."""

import logging.config
import os

from gunicorn.arbiter import Arbiter

bind = f"{os.environ.get('BIND_HOST', '0.0.0.0')}:{os.environ.get('PORT', '8000')}"
worker_class = "gthread"
workers = int(os.environ.get("WEB_CONCURRENCY", "2"))
threads = int(os.environ.get("WEB_THREADS", "6"))
keepalive = 65
timeout = 60
graceful_timeout = 20
# Its socket would live in the home folder, shared by two checkouts.
control_socket_disable = True


def on_starting(_server: Arbiter) -> None:
    """The server's own lines take the same form as the portal's."""
    from portal import settings

    logging.config.dictConfig(settings.LOGGING)
    for name in ("gunicorn.error", "gunicorn.access"):
        logging.getLogger(name).handlers.clear()
        logging.getLogger(name).propagate = True
