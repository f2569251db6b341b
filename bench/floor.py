"""What the portal's acknowledgement is measured against: the least a Django view can do, on the same web server.

/stored: compare the bearer token, read the JSON, one INSERT of the raw body (“3c”). /queued: the same and a Celery
message sent before the answer (“3d”). Database, connection pool and broker are the portal's own settings.
"""

import hmac
import json
import os
import uuid
from typing import ClassVar

import django
from celery import Celery
from django.conf import settings
from django.core.handlers.wsgi import WSGIHandler
from django.http import HttpRequest, HttpResponse
from django.urls import path

from bench.floor_table import QUEUE, TABLE
from portal import settings as portals

TOKEN = os.environ["FLOOR_TOKEN"]

settings.configure(
    DATABASES=portals.DATABASES,
    SECRET_KEY=portals.SECRET_KEY,
    ALLOWED_HOSTS=["127.0.0.1"],
    ROOT_URLCONF=__name__,
    MIDDLEWARE=[],
    USE_TZ=True,
    LOGGING_CONFIG=None,
)
django.setup()

from django.db import models  # noqa: E402 - models need the settings above

queue = Celery("floor", broker=portals.CELERY["broker_url"])
queue.conf.update(
    task_ignore_result=True,
    task_default_queue=QUEUE,
    broker_transport_options=portals.CELERY["broker_transport_options"],
)


class Row(models.Model):
    objects: ClassVar[models.Manager["Row"]] = models.Manager()
    event = models.TextField()
    body = models.BinaryField()

    class Meta:
        app_label = "bench"
        db_table = TABLE
        managed = False

    def __str__(self) -> str:
        return self.event


@queue.task(name="bench.floor.nothing")
def nothing(_row_id: int) -> None:
    pass


def stored(request: HttpRequest) -> HttpResponse:
    row = _store(request)
    return _answer(row.pk) if row else _refusal()


def queued(request: HttpRequest) -> HttpResponse:
    row = _store(request)
    if row is None:
        return _refusal()
    nothing.delay(row.pk)
    return _answer(row.pk)


def _store(request: HttpRequest) -> Row | None:
    if not hmac.compare_digest(request.headers.get("Authorization", ""), f"Bearer {TOKEN}"):
        return None
    content = json.loads(request.body)
    return Row.objects.create(event=str(uuid.UUID(content["eventUuid"])), body=request.body)


def _refusal() -> HttpResponse:
    return HttpResponse(status=401, headers={"Content-Length": "0"})


def _answer(row_id: int) -> HttpResponse:
    content = json.dumps({"id": row_id}).encode()
    return HttpResponse(content, headers={"Content-Type": "application/json", "Content-Length": str(len(content))})


urlpatterns = [path("stored", stored), path("queued", queued)]
application = WSGIHandler()
