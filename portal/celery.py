"""The Celery application: queues, the clock of each worker, and logging through Django's settings."""

import logging.config
import os
import threading
import warnings
from typing import Any

from celery import Celery
from celery.platforms import SecurityWarning
from celery.signals import celeryd_init, setup_logging, worker_ready
from kombu.entity import Exchange, Queue

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "portal.settings")

app = Celery("casebridge")
# For every thread: `celery.current_app` is otherwise set only in the one that created it.
app.set_default()


@setup_logging.connect
def use_portal_logging(**_kwargs: Any) -> None:
    from django.conf import settings

    logging.config.dictConfig(settings.LOGGING)


@celeryd_init.connect
def allow_root_for_make_run(**_kwargs: Any) -> None:
    """`make run` works as root too; elsewhere the warning is right."""
    from django.conf import settings

    if settings.LOCAL_URL:
        warnings.filterwarnings("ignore", category=SecurityWarning)


@celeryd_init.connect
def lower_priority(**_kwargs: Any) -> None:
    """On a shared machine an acknowledgement goes before a ticket. Threads started later inherit the priority."""
    os.nice(5)


@celeryd_init.connect
def wait_for_database_connections(**_kwargs: Any) -> None:
    """More threads than connections is normal in a worker; only a web request has to be answered within seconds."""
    from django.conf import settings

    settings.DATABASES["default"]["OPTIONS"]["pool"] |= settings.WORKER_DATABASE_POOL


@worker_ready.connect
def start_clock(**_kwargs: Any) -> None:
    """What became due without a worker does not wait, and a worker needs no other process to go on."""
    from integrations.jobs.clock import run_clock

    app.send_task("integrations.jobs.sweep", queue="control")
    threading.Thread(target=run_clock, args=[threading.Event()], name="clock", daemon=True).start()


@app.on_configure.connect
def configure(**_kwargs: Any) -> None:
    from django.conf import settings

    configuration: dict[str, Any] = dict(settings.CELERY)
    # Each queue has an exchange of its own: bound to a common one, all of them would get every message.
    names = configuration.pop("task_queues_names")
    configuration["task_queues"] = [Queue(name, Exchange(name), routing_key=name) for name in names]
    app.conf.update(configuration)


app.autodiscover_tasks(["integrations.jobs"])
