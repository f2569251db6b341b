"""The Celery application: queues, the beat schedule, and logging through Django's settings."""

import logging.config
import os
import warnings
from typing import Any

from celery import Celery
from celery.platforms import SecurityWarning
from celery.signals import celeryd_init, setup_logging, worker_ready
from kombu.entity import Exchange, Queue

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "portal.settings")

app = Celery("casebridge")


@setup_logging.connect
def use_the_portals_logging(**_kwargs: Any) -> None:
    from django.conf import settings

    logging.config.dictConfig(settings.LOGGING)


@celeryd_init.connect
def do_not_warn_of_root_on_a_trial_machine(**_kwargs: Any) -> None:
    """`make run` works as root too; elsewhere the warning is right."""
    from django.conf import settings

    if settings.LOCAL_URL:
        warnings.filterwarnings("ignore", category=SecurityWarning)


@worker_ready.connect
def look_for_work_at_once(**_kwargs: Any) -> None:
    """What became due while no worker ran does not wait for the next round of beat."""
    for task in ("integrations.tasks.sweep", "integrations.tasks.heartbeat"):
        app.send_task(task, queue="control")


@app.on_configure.connect
def configure(**_kwargs: Any) -> None:
    from django.conf import settings

    configuration: dict[str, Any] = dict(settings.CELERY)
    # Each queue has an exchange of its own: bound to a common one, all of them would get every message.
    names = configuration.pop("task_queues_names")
    configuration["task_queues"] = [Queue(name, Exchange(name), routing_key=name) for name in names]
    configuration["beat_schedule"] = {
        "sweep": {
            "task": "integrations.tasks.sweep",
            "schedule": settings.SWEEP_SECONDS,
            "options": {"expires": settings.SWEEP_SECONDS * 2, "queue": "control"},
        },
        "heartbeat": {
            "task": "integrations.tasks.heartbeat",
            "schedule": 15,
            "options": {"expires": 30, "queue": "control"},
        },
    }
    app.conf.update(configuration)


app.autodiscover_tasks(["integrations"])
