"""The real queues in Redis, read and worked off in this process as a worker would."""

import base64
import json
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from typing import Any

from integrations.infra import queue
from integrations.infra.redis import redis_client
from integrations.jobs.sweep import sweep
from portal.celery import app

QUEUES = ("intake", "fetched", "deliver", "control")
MOST_MESSAGES = 2000


@dataclass(frozen=True)
class Message:
    task: str
    arguments: list[Any]
    eta: str | None

    @property
    def is_due(self) -> bool:
        return self.eta is None or datetime.fromisoformat(self.eta) <= datetime.now(UTC)


def waiting() -> list[Message]:
    """What lies in the queues, oldest first."""
    queue.publisher().waiting.join()
    return [_read(raw) for name in QUEUES for raw in reversed(redis_client().lrange(name, 0, -1))]


def work_off(without: str = "") -> None:
    """Takes message by message and runs its task with its arguments until the queues are empty.

    A message for later is taken and not run: a worker would hold it until then, and the sweep finds its row without it.
    Nor is the task run that is named as `without`.
    """
    _start_as_a_worker()
    for _ in range(MOST_MESSAGES):
        message = _take()
        if message is None:
            return
        if message.is_due and message.task != without:
            app.tasks[message.task](*message.arguments)
    raise AssertionError(f"The queues are not empty after {MOST_MESSAGES} messages: {waiting()[:5]}")


def swept(task: str) -> list[Any]:
    """What a sweep queues for this task, the queues being empty before: the arguments of its messages."""
    queue.publisher().waiting.join()
    redis_client().delete(*QUEUES)
    sweep()
    return [message.arguments[0] for message in waiting() if message.task == task]


def run_task(task: str, *arguments: Any) -> None:
    """One task, as a worker runs it."""
    _start_as_a_worker()
    app.tasks[task](*arguments)


@cache
def _start_as_a_worker() -> None:
    """A task that a worker would not find is not found here either. Once: with it, Celery checks all models."""
    app.loader.import_default_modules()


def _take() -> Message | None:
    queue.publisher().waiting.join()
    raw = next((raw for name in QUEUES if (raw := redis_client().rpop(name))), None)
    return None if raw is None else _read(raw)


def _read(raw: Any) -> Message:
    message = json.loads(raw)
    headers = message["headers"]
    return Message(headers["task"], json.loads(base64.b64decode(message["body"]))[0], headers["eta"])
