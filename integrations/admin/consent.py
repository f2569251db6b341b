"""Two pages about a row: to another system where a person allows access, and where that one sends them back to."""

from dataclasses import asdict
from typing import Any
from urllib.parse import urlsplit

from django.contrib import messages
from django.contrib.auth.views import redirect_to_login
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import path, reverse
from django.views.decorators.cache import never_cache

from integrations.admin.base import ConfigurationAdmin
from integrations.infra.consent import PendingConsent
from integrations.installation import NoPublicAddress, public_url


class ConsentPages(ConfigurationAdmin):
    """What the pages share; whose consent it is, and what becomes of the answer, the admin of the rows says."""

    def consent_title(self, obj: Any) -> str:
        """The system that is asked, as in “Zendesk”."""
        raise NotImplementedError

    def why_none_is_asked(self, obj: Any) -> str:
        """A sentence where this row needs nobody's consent; empty where it does."""
        raise NotImplementedError

    def begin_consent(self, obj: Any, user_id: int) -> tuple[PendingConsent, str]:
        """What to keep in the person's session, and the address to go to. Raises NoPublicAddress."""
        raise NotImplementedError

    def is_still_at(self, consent: PendingConsent, obj: Any) -> bool:
        """Whether the row still points to where the person was sent."""
        raise NotImplementedError

    def take_answer(self, request: HttpRequest, obj: Any) -> None:
        """Exchanges the code in the request for tokens, or tells why there is none."""
        raise NotImplementedError

    def get_urls(self) -> list[Any]:
        own = [
            path("consent/", never_cache(self.consented), name=self._named("consented")),
            path("<int:object_id>/consent/", self.admin_site.admin_view(self.consent), name=self._named("consent")),
        ]
        return own + super().get_urls()

    def consent(self, request: HttpRequest, object_id: int) -> HttpResponse:
        """To the page where a person allows it. A link, not a form: the policy lets forms post to us only."""
        obj = self.permitted_object(request, object_id, to_change=True)
        if reason := self.why_none_is_asked(obj):
            self.message_user(request, reason, messages.WARNING)
            return self._to_page(obj.pk)
        title = self.consent_title(obj)
        try:
            if address := _other_host(request.get_host()):
                message = (
                    f"Open Casebridge at {address} and connect from there: {title} sends you back to that address."
                )
                self.message_user(request, message, messages.ERROR)
                return self._to_page(obj.pk)
            consent, address = self.begin_consent(obj, request.user.pk or 0)
        except NoPublicAddress as missing:
            self.message_user(request, f"{title} cannot send you back to this portal. {missing}", messages.ERROR)
            return self._to_page(obj.pk)
        request.session[self._in_session] = asdict(consent)
        return HttpResponseRedirect(address)

    def consented(self, request: HttpRequest) -> HttpResponse:
        """Where a person is sent back to. The address contains a code, so it is never passed on."""
        if not self.admin_site.has_permission(request):
            return redirect_to_login(reverse(f"admin:{self._named('changelist')}"), reverse("admin:login"))
        kept = request.session.pop(self._in_session, None)
        # Used up before anything is asked: a second answer with this state finds nothing.
        request.session.save()
        consent = PendingConsent(**kept) if kept else None
        if consent is None or not consent.fits(request.GET.get("state", ""), request.user.pk):
            message = "This sign-in was not started here within the last ten minutes. Connect again."
            self.message_user(request, message, messages.ERROR)
            return HttpResponseRedirect(reverse(f"admin:{self._named('changelist')}"))
        obj = self.permitted_object(request, consent.row_id, to_change=True)
        if self.is_still_at(consent, obj):
            self.take_answer(request, obj)
        else:
            message = "The address changed in the meantime, so nothing was saved. Connect again."
            self.message_user(request, message, messages.ERROR)
        return self._to_page(obj.pk)

    @property
    def _in_session(self) -> str:
        return f"consent_{self.opts.model_name}"

    def _named(self, page: str) -> str:
        return f"{self.opts.app_label}_{self.opts.model_name}_{page}"

    def _to_page(self, row_id: int) -> HttpResponse:
        return HttpResponseRedirect(reverse(f"admin:{self._named('change')}", args=[row_id]))


def _other_host(host: str) -> str:
    """The public address, where people are sent back to and must be signed in; empty when they are there."""
    address = public_url()
    return "" if urlsplit(address).netloc == host else address
