"""The web server: two processes with a few threads each serve the webhook and the admin (see docs/architecture.md)."""

import contextlib
import os
import resource

from portal import settings

# Many systems give 1,024 descriptors and allow far more.
allowed_now, most_descriptors = resource.getrlimit(resource.RLIMIT_NOFILE)
with contextlib.suppress(OSError, ValueError):
    resource.setrlimit(resource.RLIMIT_NOFILE, (most_descriptors, most_descriptors))
    allowed_now = most_descriptors
DESCRIPTORS_FOR_OTHERS = 100

bind = f"{os.environ.get('BIND_HOST', '0.0.0.0')}:{os.environ.get('PORT', '8000')}"
worker_class = "portal.web_worker.WholeRequestWorker"
# Connections that a process receives from at a time, however slow they are.
worker_connections = 2000 if allowed_now < 0 else max(min(2000, allowed_now - DESCRIPTORS_FOR_OTHERS), 50)
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
