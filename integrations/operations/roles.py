"""Three kinds of people, as groups of Django's: nobody has to choose from a hundred permissions.

Made, and made anew when a release brings new tables, after each migration (integrations.apps). What staff change in
these three groups is therefore not kept; other groups are left alone.
"""

from typing import Any

from django.apps import apps
from django.contrib.auth.models import Group, Permission
from django.db.models import Q

ADMINISTRATOR, OPERATOR, VIEWER = "Administrator", "Operator", "Viewer"
# What each may do, for the page of a person.
ROLES = {
    VIEWER: "sees everything and changes nothing",
    OPERATOR: "sets up companies, subscriptions, mappings, connections and walls; retries; takes care of alarms",
    ADMINISTRATOR: "does all that, and decides who may sign in",
}
OURS = "integrations"
# Set up by operators; whatever else there is of ours they may act on, but not add.
SET_UP = ("company", "subscription", "connection", "mapping", "wall")
# Nobody's to change by hand.
INNER = ("installation", "turn", "remoteobject", "requester", "accountschema")


def make_roles() -> None:
    """Makes the groups that are missing, and gives each what it may do."""
    for name, may in _permissions().items():
        group, _ = Group.objects.get_or_create(name=name)
        group.permissions.set(Permission.objects.filter(may))


def _permissions() -> dict[str, Q]:
    ours = Q(content_type__app_label=OURS)
    models = [model._meta.model_name or "" for model in apps.get_app_config(OURS).get_models()]
    views = ours & Q(codename__in=[f"view_{name}" for name in models if name not in INNER])
    views |= Q(content_type__app_label="django_celery_results", codename="view_taskresult")
    changes = ours & Q(codename__in=[f"change_{name}" for name in models if name not in INNER])
    makes = ours & Q(codename__in=[f"{what}_{name}" for name in SET_UP for what in ("add", "delete")])
    people = Q(
        content_type__app_label="auth", codename__in=[f"{what}_user" for what in ("view", "add", "change", "delete")]
    )
    return {VIEWER: views, OPERATOR: views | changes | makes, ADMINISTRATOR: views | changes | makes | people}


def make_roles_after_migrating(sender: Any, **_: Any) -> None:
    """A receiver of post_migrate: permissions of new tables exist by then."""
    make_roles()
