"""Prints where walls are read, for who has the server but not the browser."""

from typing import Any

from django.core.management.base import BaseCommand

from integrations.models import Wall
from integrations.walls import page_address


class Command(BaseCommand):
    help = "Prints each wall's address and name. Who knows an address reads the wall."

    def handle(self, *args: Any, **options: Any) -> None:
        for wall in Wall.objects.all():
            self.stdout.write(f"{page_address(wall) or '(no address)'} {wall.name}")
