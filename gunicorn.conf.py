"""The web server: two processes with a few threads each serve the webhook and the admin (see docs/architecture.md)."""

import os

from portal import settings

bind = f"{os.environ.get('BIND_HOST', '0.0.0.0')}:{os.environ.get('PORT', '8000')}"
worker_class = "portal.web_worker.WholeRequestWorker"
# Connections that a process receives from at a time, however slow they are.
worker_connections = 2000
workers = int(os.environ.get("WEB_CONCURRENCY", "2"))
threads = int(os.environ.get("WEB_THREADS", "6"))
keepalive = 65
timeout = 60
graceful_timeout = 20
# Its socket would live in the home folder, shared by two checkouts.
control_socket_disable = True

# The server's own lines take the same form as the portal's, from the first one on.
server_lines = {"handlers": ["stdout"], "level": "INFO", "propagate": False}
logconfig_dict = settings.LOGGING | {"loggers": settings.LOGGING["loggers"] | {"gunicorn.error": server_lines}}
