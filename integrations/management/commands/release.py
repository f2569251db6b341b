"""Run once at each release, before the new processes start; safe to repeat, and safe from two machines at once."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.conf import settings
from django.contrib.auth import get_user_model
from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError
from django.db import OperationalError, connection

from integrations.operations import make_first_setup

LOCK = 7_203_015_001  # any number that nothing else in the database locks


class Command(BaseCommand):
    help = "Migrates the database, makes the first administrator, and makes the first set-up from the environment."

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            connection.ensure_connection()
        except OperationalError as error:
            raise CommandError(f"The database in DATABASE_URL cannot be reached: {error}") from None
        with one_at_a_time():
            call_command("migrate", interactive=False, verbosity=options["verbosity"])
            self.stdout.write(make_administrator())
            self.stdout.write(make_first_setup())


@contextmanager
def one_at_a_time() -> Iterator[None]:
    """A lock of the database's, so that a second machine's release waits for the first."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_lock(%s)", [LOCK])
        try:
            yield
        finally:
            cursor.execute("SELECT pg_advisory_unlock(%s)", [LOCK])


def make_administrator() -> str:
    """Makes the administrator that DJANGO_SUPERUSER_* name; an existing user of that name stays as it is."""
    administrator = settings.ADMINISTRATOR
    users = get_user_model().objects
    if users.filter(username=administrator["username"]).exists():
        return f"The administrator “{administrator['username']}” exists."
    if not administrator["password"]:
        return "No administrator was made, because DJANGO_SUPERUSER_PASSWORD is not set."
    try:
        validate_password(administrator["password"], users.model(username=administrator["username"]))
    except ValidationError as weak:
        raise CommandError(f"DJANGO_SUPERUSER_PASSWORD is too weak. {' '.join(weak.messages)}") from None
    users.create_superuser(administrator["username"], administrator["email"], administrator["password"])
    return f"Made the administrator “{administrator['username']}”."
