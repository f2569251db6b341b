"""The Celery application: queues, the beat schedule, and logging through Django's settings."""

import logging.config
import os
import threading
import time
import warnings
from typing import Any

from celery import Celery
from celery.platforms import SecurityWarning
from celery.signals import beat_embedded_init, celeryd_init, setup_logging, worker_ready
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


@beat_embedded_init.connect
def end_beat_with_its_worker(**_kwargs: Any) -> None:
    """Beat inside a worker is a process of its own, and would survive a kill -9 of the worker."""
    worker = os.getppid()

    def watch() -> None:
        while os.getppid() == worker:
            time.sleep(1)
        os._exit(0)

    threading.Thread(target=watch, name="parent watch", daemon=True).start()


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
def start(**_kwargs: Any) -> None:
    """What became due without a worker does not wait for beat; workers that deliver send heartbeats."""
    app.send_task("integrations.jobs.sweep", queue="control")
    if "deliver" in app.amqp.queues.consume_from:
        from integrations.installation import send_heartbeats

        threading.Thread(target=send_heartbeats, name="heartbeat", daemon=True).start()


@app.on_configure.connect
def configure(**_kwargs: Any) -> None:
    from django.conf import settings

    configuration: dict[str, Any] = dict(settings.CELERY)
    # Each queue has an exchange of its own: bound to a common one, all of them would get every message.
    names = configuration.pop("task_queues_names")
    configuration["task_queues"] = [Queue(name, Exchange(name), routing_key=name) for name in names]
    configuration["beat_schedule"] = {
        "sweep": {
            "task": "integrations.jobs.sweep",
            "schedule": settings.SWEEP_SECONDS,
            "options": {"expires": settings.SWEEP_SECONDS * 2, "queue": "control"},
        },
        "watch": {
            "task": "integrations.jobs.watch",
            "schedule": settings.WATCH_SECONDS,
            "options": {"expires": settings.WATCH_SECONDS * 2, "queue": "control"},
        },
    }
    app.conf.update(configuration)


app.autodiscover_tasks(["integrations.jobs"])
