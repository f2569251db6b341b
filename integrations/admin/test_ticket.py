"""The test ticket of a page that shows a mapping: created once per uuid in the page, and noted in the history."""

import uuid

from django.contrib.admin.models import CHANGE, LogEntry
from django.http import HttpRequest

from integrations.models import Connection, Mapping
from integrations.routing import TestTicket, create_test_ticket


def posted_uuid(request: HttpRequest) -> str:
    """The one of the page whose button was pressed; empty where it is none."""
    try:
        return str(uuid.UUID(request.POST.get("test_uuid", "")))
    except ValueError:
        return ""


def create_and_note(request: HttpRequest, mapping: Mapping, built: str, reference: str) -> TestTicket:
    """Notes it in the mapping's history, or in the connection's where the mapping is not saved yet."""
    result = create_test_ticket(mapping.connection, built, reference)
    mappings, connections = Mapping.objects.filter(pk=mapping.pk), Connection.objects.filter(pk=mapping.connection_id)
    LogEntry.objects.log_actions(
        str(request.user.pk),
        mappings if mapping.pk else connections,
        CHANGE,
        change_message=result.message,
    )
    return result
