"""The page “Status from Zendesk” of a connection: whether tickets' status comes back, how to set it up, to undo it."""

from typing import TYPE_CHECKING, Any

from django import forms
from django.contrib import messages
from django.core.exceptions import ValidationError
from django.db import transaction
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import path, reverse

from integrations.admin.base import ConfigurationAdmin, note_action, themed
from integrations.infra import database_clock
from integrations.infra.queue import POLL_TICKETS, publish
from integrations.infra.text import timestamp
from integrations.models import Connection
from integrations.outcomes import AccountWebhook, NotSetUp, latest_events, request_poll

if TYPE_CHECKING:
    from integrations.admin.base import ConfigurationAdmin

    Base = ConfigurationAdmin
else:
    Base = object

EVENTS_SHOWN = 10


class SigningSecretForm(forms.Form):
    signing_secret = forms.CharField(
        label="Signing secret",
        max_length=500,
        widget=forms.PasswordInput,
        help_text="Shown on the webhook's page in Admin Center under “Reveal secret”. It is stored encrypted and never "
        "shown here.",
    )

    def __init__(self, webhook: AccountWebhook, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.webhook = webhook

    def clean_signing_secret(self) -> str:
        secret: str = self.cleaned_data["signing_secret"].strip()
        if problem := self.webhook.why_unfit(secret):
            raise ValidationError(problem)
        return secret


themed(SigningSecretForm)


class StatusPageMixin(Base):
    """Adds the page to a connection's admin."""

    def status_links(self, obj: Connection) -> list[tuple[str, str]]:
        """The link to the page; none where the kind of connection cannot tell."""
        if not AccountWebhook(obj).is_offered:
            return []
        return [(reverse("admin:integrations_connection_status", args=[obj.pk]), "Status from Zendesk")]

    def get_urls(self) -> list[Any]:
        view = self.admin_site.admin_view(self.status_page)
        own = path("<int:object_id>/status/", view, name="integrations_connection_status")
        return [own, *super().get_urls()]

    def status_page(self, request: HttpRequest, object_id: int) -> HttpResponse:
        """Whether the status comes back, and the buttons around it."""
        connection = self.found(request, object_id, to_change=request.method == "POST")
        webhook = AccountWebhook(connection)
        if not webhook.is_offered:
            raise Http404
        form = SigningSecretForm(webhook)
        if request.method == "POST" and "paste" in request.POST:
            form = SigningSecretForm(webhook, request.POST)
            if form.is_valid():
                webhook.store_secret(form.cleaned_data["signing_secret"])
                self._told(request, connection, "signing secret entered", "Stored: calls signed with it are heard.")
                return HttpResponseRedirect(request.path)
        elif request.method == "POST":
            self._press(request, connection)
            return HttpResponseRedirect(request.path)
        return self._status_page(request, connection, form)

    def _status_page(self, request: HttpRequest, connection: Connection, form: SigningSecretForm) -> HttpResponse:
        webhook = AccountWebhook(connection)
        endpoint, why_not = webhook.endpoint()
        return self.own_page(
            request,
            "admin/integrations/status_from_zendesk.html",
            connection,
            f"Status from Zendesk: “{connection}”",
            form=form,
            endpoint=endpoint,
            why_not=why_not,
            is_set_up=bool(connection.webhook_secret),
            is_readable=connection.webhook_secret.is_readable,
            is_quiet=not webhook.is_alive,
            heard=timestamp(connection.webhook_called_at) if connection.webhook_called_at else "",
            events=latest_events(connection, EVENTS_SHOWN),
            is_shut=not connection.is_active or connection.is_paused(database_clock.now()),
            may_change=self.has_change_permission(request, connection),
        )

    def _press(self, request: HttpRequest, connection: Connection) -> None:
        buttons = {
            "set_up": self._set_up,
            "remove": self._remove,
            "forget": self._forget,
            "look": self._look,
        }
        for name, press in buttons.items():
            if name in request.POST:
                press(request, connection)
                return

    def _set_up(self, request: HttpRequest, connection: Connection) -> None:
        try:
            AccountWebhook(connection).set_up()
        except NotSetUp as refused:
            message = f"The webhook was not set up. {refused}\nThe steps by hand are shown below."
            self.message_user(request, message, messages.ERROR)
            return
        message = "Set up: Zendesk calls this portal when the status or the assignee of a ticket changes."
        self._told(request, connection, "set up the webhook in Zendesk", message)

    def _remove(self, request: HttpRequest, connection: Connection) -> None:
        try:
            AccountWebhook(connection).remove()
        except NotSetUp as refused:
            message = (
                f"It was not removed. {refused}\nDelete the webhook in Admin Center, then press “Forget it here only”."
            )
            self.message_user(request, message, messages.ERROR)
            return
        self._told(request, connection, "removed the webhook in Zendesk", "Removed in Zendesk, and forgotten here.")

    def _forget(self, request: HttpRequest, connection: Connection) -> None:
        AccountWebhook(connection).forget()
        message = "Forgotten: calls of that webhook are refused from now on. Tickets are still looked at."
        self._told(request, connection, "forgot the webhook", message)

    def _look(self, request: HttpRequest, connection: Connection) -> None:
        count = request_poll(connection)
        transaction.on_commit(lambda: publish(POLL_TICKETS, connection.pk), robust=True)
        tickets = "1 ticket" if count == 1 else f"{count} tickets"
        message = f"Zendesk is asked about {tickets}, closed ones left out; reload the log in a few seconds."
        self._told(request, connection, "look at tickets now", message if count else "There is no ticket to ask about.")

    def _told(self, request: HttpRequest, connection: Connection, action: str, message: str) -> None:
        note_action(request, Connection, [connection.pk], action)
        self.message_user(request, message, messages.SUCCESS)
