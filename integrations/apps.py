"""The application's registration with Django."""

from django.apps import AppConfig
from django.db.models.signals import post_migrate


class IntegrationsConfig(AppConfig):
    name = "integrations"
    verbose_name = "Casebridge"

    def ready(self) -> None:
        from integrations.operations import make_roles_after_migrating

        # After Django's own receiver, which makes the permissions.
        post_migrate.connect(make_roles_after_migrating, sender=self, dispatch_uid="casebridge roles")
