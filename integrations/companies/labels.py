"""The labels to choose from."""

from datetime import timedelta

from django.db.models import Q
from django.db.models.functions import Now

from integrations.companies.client import NoToken, company_client
from integrations.infra.http.failure import Failure
from integrations.infra.text import storable
from integrations.models import Company
from integrations.models.configuration import without_lists

LABELS_SECONDS = 20.0
READ_EVERY = timedelta(days=1)
MOST_LABELS = 5_000


def with_old_labels() -> list[int]:
    """Companies whose labels were never read, or a day ago; not those that have no token."""
    old = Q(labels_read_at__isnull=True) | Q(labels_read_at__lt=Now() - READ_EVERY)
    rows = Company.objects.filter(old).defer(*without_lists())
    return [company.pk for company in rows if company.api_token]


def refresh_labels(company: Company) -> str:
    """Reads the labels to choose from, keeping the old ones if that fails. Returns a sentence for staff."""
    try:
        client = company_client(company, LABELS_SECONDS)
        labels = client.labels()
        for initiative in filter(None, (part.strip() for part in company.initiatives.split(","))):
            labels += client.content_labels(initiative)
    except (Failure, NoToken) as error:
        message = f"{error.message} {error.detail}".strip() if isinstance(error, Failure) else str(error)
        Company.objects.filter(pk=company.pk).update(labels_problem=storable(message))
        return f"The labels of “{company}” could not be read, so the previous ones are kept: {message}"
    kept = [{"name": storable(label["name"])[:250], "set": storable(label["set"])[:250]} for label in labels]
    kept.sort(key=lambda label: (label["name"].casefold(), label["set"].casefold()))
    Company.objects.filter(pk=company.pk).update(labels=kept[:MOST_LABELS], labels_read_at=Now(), labels_problem="")
    return f"“{company}” has {len(kept)} label{'' if len(kept) == 1 else 's'}."
