"""The page “Status from Zendesk” of a connection: whether tickets' status comes back, how to set it up, to undo it."""

from typing import TYPE_CHECKING, Any

from django import forms
from django.contrib import messages
from django.core.exceptions import ValidationError
from django.db import transaction
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import path, reverse

from integrations import database_time, outcomes, telling, ticket_events, webhook_setup
from integrations.admin.base import note_action, themed
from integrations.destinations.zendesk.ticket_news import PUBLIC_TEST_SECRET
from integrations.models import Connection
from integrations.queueing import LOOK, publish

if TYPE_CHECKING:
    from integrations.admin.base import ConfigurationAdmin

    Base = ConfigurationAdmin
else:
    Base = object

SHORTEST_SECRET = 16
EVENTS_SHOWN = 10


class SigningSecretForm(forms.Form):
    signing_secret = forms.CharField(
        label="Signing secret",
        max_length=500,
        widget=forms.PasswordInput,
        help_text="Shown on the webhook's page in Admin Center under “Reveal secret”. It is stored encrypted and never "
        "shown here.",
    )

    def clean_signing_secret(self) -> str:
        secret: str = self.cleaned_data["signing_secret"].strip()
        if secret == PUBLIC_TEST_SECRET:
            raise ValidationError("This is the secret that Zendesk publishes for tests; enter the webhook's own.")
        if len(secret) < SHORTEST_SECRET or not secret.isascii() or " " in secret:
            raise ValidationError("This is no signing secret: copy the whole of it from the webhook's page.")
        return secret


themed(SigningSecretForm)


class StatusPageMixin(Base):
    """Adds the page to a connection's admin."""

    def status_links(self, obj: Connection) -> list[tuple[str, str]]:
        """The link to the page; none where the kind of connection cannot tell."""
        if not webhook_setup.tells_status(obj):
            return []
        return [(reverse("admin:integrations_connection_status", args=[obj.pk]), "Status from Zendesk")]

    def get_urls(self) -> list[Any]:
        view = self.admin_site.admin_view(self.status_page)
        own = path("<int:object_id>/status/", view, name="integrations_connection_status")
        return [own, *super().get_urls()]

    def status_page(self, request: HttpRequest, object_id: int) -> HttpResponse:
        """Whether the status comes back, and the buttons around it."""
        connection = self.found(request, object_id, to_change=request.method == "POST")
        if not webhook_setup.tells_status(connection):
            raise Http404
        form = SigningSecretForm()
        if request.method == "POST" and "paste" in request.POST:
            form = SigningSecretForm(request.POST)
            if form.is_valid():
                webhook_setup.take_secret(connection, form.cleaned_data["signing_secret"])
                self._told(request, connection, "signing secret entered", "Stored: calls signed with it are heard.")
                return HttpResponseRedirect(request.path)
        elif request.method == "POST":
            self._press(request, connection)
            return HttpResponseRedirect(request.path)
        return self._status_page(request, connection, form)

    def _status_page(self, request: HttpRequest, connection: Connection, form: SigningSecretForm) -> HttpResponse:
        endpoint, why_not = webhook_setup.endpoint(connection)
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
            is_quiet=not outcomes.is_heard(connection.pk),
            heard=telling.moment(connection.webhook_heard_at) if connection.webhook_heard_at else "",
            events=ticket_events.latest(connection, EVENTS_SHOWN),
            is_shut=not connection.is_active or connection.is_paused(database_time.now()),
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
            webhook_setup.set_up(connection)
        except webhook_setup.NotSetUp as refused:
            words = f"The webhook was not set up. {refused}\nThe steps by hand are shown below."
            self.message_user(request, words, messages.ERROR)
            return
        words = "Set up: Zendesk calls this portal when the status or the assignee of a ticket changes."
        self._told(request, connection, "set up the webhook in Zendesk", words)

    def _remove(self, request: HttpRequest, connection: Connection) -> None:
        try:
            webhook_setup.remove(connection)
        except webhook_setup.NotSetUp as refused:
            words = (
                f"It was not removed. {refused}\nDelete the webhook in Admin Center, then press “Forget it here only”."
            )
            self.message_user(request, words, messages.ERROR)
            return
        self._told(request, connection, "removed the webhook in Zendesk", "Removed in Zendesk, and forgotten here.")

    def _forget(self, request: HttpRequest, connection: Connection) -> None:
        webhook_setup.forget(connection)
        words = "Forgotten: calls of that webhook are refused from now on. Tickets are still looked at."
        self._told(request, connection, "forgot the webhook", words)

    def _look(self, request: HttpRequest, connection: Connection) -> None:
        count = outcomes.look_now(connection)
        transaction.on_commit(lambda: publish(LOOK, connection.pk), robust=True)
        tickets = "1 ticket" if count == 1 else f"{count} tickets"
        words = f"Zendesk is asked about {tickets}, closed ones left out; reload the log in a few seconds."
        self._told(request, connection, "look at tickets now", words if count else "There is no ticket to ask about.")

    def _told(self, request: HttpRequest, connection: Connection, action: str, words: str) -> None:
        note_action(request, Connection, [connection.pk], action)
        self.message_user(request, words, messages.SUCCESS)
