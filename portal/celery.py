"""The Celery application: queues, the beat schedule, and logging through Django's settings."""

import logging.config
import os
from typing import Any

from celery import Celery
from celery.signals import setup_logging
from kombu import Queue

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "portal.settings")

app = Celery("casebridge")


@setup_logging.connect
def use_the_portals_logging(**_kwargs: Any) -> None:
    from django.conf import settings

    logging.config.dictConfig(settings.LOGGING)


@app.on_configure.connect
def configure(**_kwargs: Any) -> None:
    from django.conf import settings

    configuration = dict(settings.CELERY)
    configuration["task_queues"] = [Queue(name) for name in configuration.pop("task_queues_names")]
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
