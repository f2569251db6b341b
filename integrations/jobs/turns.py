"""Taking turns: any number of clocks, in any number of processes, do each thing once."""

from django.db import connection
from django.db.models.functions import Now

from integrations.models import Turn

TAKE = """
INSERT INTO integrations_turn (name, taken_at) VALUES (%s, now())
ON CONFLICT (name) DO UPDATE SET taken_at = now() WHERE integrations_turn.taken_at <= now() - %s * interval '1 second'
"""


def take_turn(name: str, seconds: float) -> bool:
    """Whether this clock does it now: nobody has begun it for so long."""
    with connection.cursor() as cursor:
        cursor.execute(TAKE, [str(name), seconds])
        return cursor.rowcount == 1


def end_turn(name: str) -> None:
    Turn.objects.filter(name=name).update(done_at=Now())
