"""Re-encrypts every stored secret with the newest key (the first in ENCRYPTION_KEY)."""

from typing import Any

from django.apps import apps
from django.core.management.base import BaseCommand, CommandError

from integrations.infra.encryption import UnreadableSecret
from integrations.models.fields import SecretField


class Command(BaseCommand):
    help = (
        "Re-encrypts the stored secrets with the first key of ENCRYPTION_KEY. Put the new key in front of the old one "
        "(new,old), run this, then remove the old one."
    )

    def handle(self, *args: Any, **options: Any) -> None:
        changed, unreadable = 0, []
        for model in apps.get_app_config("integrations").get_models():
            names = [field.name for field in model._meta.get_fields() if isinstance(field, SecretField)]
            for row in model._default_manager.all() if names else []:
                for name in names:
                    secret = getattr(row, name)
                    # The old value is part of the condition: what somebody enters at this moment is not overwritten.
                    stored = model._default_manager.filter(pk=row.pk, **{name: secret})
                    try:
                        changed += stored.update(**{name: secret.reencrypted()}) if secret else 0
                    except UnreadableSecret:
                        unreadable.append(f"{model._meta.verbose_name} “{row}”")
        self.stdout.write(f"Re-encrypted {changed} secrets.")
        if unreadable:
            raise CommandError(f"No present key reads the secrets of: {', '.join(unreadable)}. Enter them again.")
