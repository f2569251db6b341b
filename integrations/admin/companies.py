"""Khoros companies: the token's owner and reach, what is registered at Khoros, the labels."""

from typing import Any

from django.conf import settings
from django.contrib import admin, messages
from django.db import transaction
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import path, reverse
from django.utils.html import format_html
from unfold.decorators import display

from integrations.admin.base import note_action, themed
from integrations.admin.consent import ConsentPages
from integrations.admin.forms import CompanyForm
from integrations.admin.needs import CompanyNeeds
from integrations.companies import (
    NotConsented,
    NoToken,
    accept_company_consent,
    begin_company_consent,
    change_other,
    check_company,
    is_forgotten,
    refresh_labels,
    token_end_text,
    token_warning,
)
from integrations.infra.consent import PendingConsent
from integrations.infra.encryption import UnreadableSecret
from integrations.infra.http.failure import Failure
from integrations.infra.queue import CHECK_SUBSCRIPTION, READ_COMPANY, publish
from integrations.infra.text import timestamp
from integrations.installation import NoPublicAddress, public_url
from integrations.models import Change, Company, Installation, Subscription
from integrations.sources.khoros import plan
from integrations.sources.khoros.consent import why_none
from integrations.subscriptions import request_check

themed(CompanyForm)

PUBLISHED_AT_ONCE = 4
LEVELS = {True: messages.SUCCESS, False: messages.ERROR, None: messages.INFO}
OWNERS = {"ours": "Casebridge", "another installation": "Another Casebridge installation", "foreign": "Someone else"}
V1_NOTICE = (
    "Version 1 of the Khoros API can only register subscriptions. Casebridge assumes they are still registered as "
    "sent: it cannot check, pause or delete them, and it cannot fetch missed notifications."
)


def check_soon(subscription_ids: list[int], by: str = "") -> None:
    """Requests a check of these subscriptions, and queues it once the change is committed."""
    request_check(subscription_ids, by)

    def queue() -> None:
        # The rest is found by the sweep, few at a time.
        for subscription_id in subscription_ids[:PUBLISHED_AT_ONCE]:
            publish(CHECK_SUBSCRIPTION, subscription_id)

    transaction.on_commit(queue, robust=True)


def _return_address() -> str:
    """Where Khoros sends people back to. Raises NoPublicAddress."""
    return public_url() + reverse("admin:integrations_company_consented")


@admin.register(Company)
class CompanyAdmin(ConsentPages):
    form = CompanyForm
    owned = (
        "name",
        "company_id",
        "api_version",
        "initiatives",
        "api_token",
        "token_entered_at",
        "token_expires_at",
        "token_by_consent",
        "oauth_client_id",
        "oauth_client_secret",
    )
    list_display = ("name", "company_id", "token_label", "token_ends", "checked_at", "warning_text")
    actions = ("test_connection", "refresh_labels", "take_secret_from_environment")
    list_filter = (CompanyNeeds,)
    handbook_part = "khoros"
    ordering = ("name",)
    switch = ""
    change_form_outer_after_template = "admin/integrations/company_page.html"
    readonly_fields = (
        "token_state",
        "token_owner_text",
        "token_ends",
        "labels_text",
        "checked_at",
        "warning_text",
        "redirect_url_text",
    )

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        may_change = obj is None or self.has_change_permission(request, obj)
        secret = ("new_api_token",) if may_change else ()
        general = ("name", "company_id", "api_version", *secret)
        client = ("oauth_client_id", *(("new_client_secret",) if may_change else ()), "redirect_url_text")
        oauth = ("OAuth by consent", {"fields": client, "classes": ["collapse"]})
        if obj is None:
            return ((None, {"fields": general}), oauth)
        found = ("token_state", "token_owner_text", "token_ends", "checked_at", "warning_text")
        return (
            (None, {"fields": general}),
            oauth,
            ("API token", {"fields": found}),
            ("Labels", {"fields": ("labels_text", "initiatives")}),
        )

    def next_step(self, obj: Company) -> tuple[str, str]:
        return f"{reverse('admin:integrations_subscription_add')}?company={obj.pk}", "subscribe to a label"

    def uses(self, obj: Company) -> str:
        count = obj.subscriptions.count()
        return (
            f"{count} subscription{'' if count == 1 else 's'} still use{'s' if count == 1 else ''} it; turn them "
            "off instead"
            if count
            else ""
        )

    @admin.display(description="Stored API token")
    def token_state(self, company: Company) -> str:
        return self.secret_text(company.api_token)

    @display(description="API token", label={"good": "success", "warning": "warning", "open": "info"})
    def token_label(self, company: Company) -> tuple[str, str]:
        if company.warning or token_warning(company) or not company.api_token.is_readable:
            return "warning", "Needs attention"
        return ("good", "Accepted") if company.checked_at else ("open", "Not tested yet")

    @admin.display(description="Token owner")
    def token_owner_text(self, company: Company) -> str:
        if not company.token_owner:
            return "Not known yet. Press “Test connection”."
        seen = ", ".join(f"{row['name']} ({row['id']})" for row in company.companies_seen) or "none"
        return f"{company.token_owner}. Companies it can access: {seen}."

    @admin.display(description="Token expires")
    def token_ends(self, company: Company) -> str:
        return token_end_text(company)

    @admin.display(description="Available labels")
    def labels_text(self, company: Company) -> str:
        if company.labels_read_at is None:
            return f"Not loaded yet. Press “Refresh labels”. {company.labels_problem}".strip()
        problem = f" The last refresh failed: {company.labels_problem}" if company.labels_problem else ""
        return f"{len(company.labels):,} available, last read {timestamp(company.labels_read_at)}.{problem}"

    @admin.display(description="Token status")
    def warning_text(self, company: Company) -> str:
        if company.api_token and not company.api_token.is_readable:
            return f"The API token {UnreadableSecret.message}."
        return company.warning or ("Accepted by Khoros." if company.checked_at else "Not tested yet.")

    # --- ConsentPages ---

    @admin.display(description="Redirect URL")
    def redirect_url_text(self, company: Company) -> str:
        try:
            address = _return_address()
        except NoPublicAddress as missing:
            address = f"Not known yet. {missing}"
        message = "Tell it to Khoros' support, who enters it for the client."
        return format_html('<span class="cb-address">{}</span><br><span class="cb-quiet">{}</span>', address, message)

    def consent_title(self, obj: Company) -> str:
        return "Khoros"

    def why_none_is_asked(self, obj: Company) -> str:
        return "" if obj.oauth_client_id else "Enter client ID and secret first, and save."

    def begin_consent(self, obj: Company, user_id: int) -> tuple[PendingConsent, str]:
        return begin_company_consent(obj, user_id, _return_address())

    def is_still_at(self, consent: PendingConsent, obj: Company) -> bool:
        return consent.origin == settings.KHOROS_LOGIN_URL

    def take_answer(self, request: HttpRequest, obj: Company) -> None:
        if "code" not in request.GET or "error" in request.GET:
            error, description = request.GET.get("error", "no code"), request.GET.get("error_description", "")
            self.message_user(request, why_none(error, description), messages.ERROR)
            return
        try:
            accept_company_consent(obj, request.GET["code"], _return_address())
        except (NotConsented, NoPublicAddress) as reason:
            self.message_user(request, str(reason), messages.ERROR)
            return
        note_action(request, Company, [obj.pk], "Connected to Khoros by consent")
        self.message_user(request, "Connected to Khoros.", messages.SUCCESS)
        obj.refresh_from_db()
        for finding in check_company(obj):
            self.message_user(request, finding.message, LEVELS[finding.is_good])
        check_soon(list(obj.subscriptions.filter(deleted_at__isnull=True).values_list("pk", flat=True)))

    def links(self, request: HttpRequest, obj: Company) -> list[tuple[str, str]]:
        handbook = (f"{reverse('handbook')}#khoros", "How to set it up")
        found = [*super().links(request, obj), handbook]
        if not obj.oauth_client_id or not self.has_change_permission(request, obj):
            return found
        title = "Connect to Khoros again" if obj.token_by_consent else "Connect to Khoros"
        return [*found, (reverse("admin:integrations_company_consent", args=[obj.pk]), title)]

    def notices(self, request: HttpRequest, obj: Company) -> list[tuple[str, str]]:
        found = self.environment_notices(obj)
        if not obj.api_token and obj.oauth_client_id:
            message = "Not connected yet: press “Connect to Khoros” below and allow access there."
            found.append(("warning", message))
        if obj.api_token and not obj.api_token.is_readable:
            found.append(("error", f"The API token {UnreadableSecret.message}."))
        if obj.warning:
            found.append(("warning", obj.warning))
        if message := token_warning(obj):
            found.append(("warning", message))
        if obj.api_version == Company.ApiVersion.V1:
            found.append(("info", V1_NOTICE))
        return found

    def buttons(self, request: HttpRequest, obj: Company) -> list[str]:
        return ["test_connection", "refresh_labels", *self.environment_buttons(obj)]

    def facts(self, request: HttpRequest, obj: Company) -> dict[str, Any]:
        prefix = plan.prefix_of(Installation.own_uuid())
        subscriptions = Subscription.objects.filter(company=obj).exclude(
            deleted_at__isnull=False, registration=Subscription.Registration.RETIRED
        )
        known = {f"{prefix}{row.uuid}": row for row in subscriptions}
        may_change = self.has_change_permission(request, obj)
        rows = [_listed(row, prefix, known, obj) for row in obj.listed]
        for row in rows:
            row["button"] = row["button"] if may_change else None
        return {"listed": rows, "listed_at": timestamp(obj.listed_at), "is_v1": obj.api_version == "v1"}

    def save_model(self, request: HttpRequest, obj: Company, form: Any, change: bool) -> None:
        super().save_model(request, obj, form, change)
        transaction.on_commit(lambda: publish(READ_COMPANY, obj.pk), robust=True)
        transaction.on_commit(lambda: self._test_saved(request, obj.pk), robust=True)
        check_soon(list(obj.subscriptions.filter(deleted_at__isnull=True).values_list("pk", flat=True)))

    def _test_saved(self, request: HttpRequest, company_id: int) -> None:
        """What was saved is tested at once; the test has a deadline that a page can wait for."""
        company = Company.objects.get(pk=company_id)
        if not company.api_token:
            return
        for finding in check_company(company):
            self.message_user(request, finding.message, LEVELS[finding.is_good])

    def after_switching(self, ids: list[int]) -> None:
        check_soon(list(Subscription.objects.filter(company__in=ids).values_list("pk", flat=True)))

    @admin.action(description="Test connection", permissions=["change_action"])
    def test_connection(self, request: HttpRequest, queryset: QuerySet[Company]) -> HttpResponse | None:
        for company in queryset:
            for finding in check_company(company):
                self.message_user(request, finding.message, LEVELS[finding.is_good])
        note_action(request, Company, list(queryset.values_list("pk", flat=True)), "test_connection")
        return self.back(request)

    @admin.action(description="Refresh labels", permissions=["change_action"])
    def refresh_labels(self, request: HttpRequest, queryset: QuerySet[Company]) -> HttpResponse | None:
        for company in queryset:
            message = refresh_labels(company)
            company.refresh_from_db(fields=["labels_problem"])
            self.message_user(request, message, messages.ERROR if company.labels_problem else messages.SUCCESS)
        return self.back(request)

    # --- Registered at Khoros ---

    def get_urls(self) -> list[Any]:
        own = [
            path(
                "<int:company_id>/at-khoros/<path:khoros_uuid>/<slug:change>/",
                self.admin_site.admin_view(self.change_at_khoros),
                name="integrations_company_change_at_khoros",
            )
        ]
        return own + super().get_urls()

    def change_at_khoros(self, request: HttpRequest, company_id: int, khoros_uuid: str, change: str) -> HttpResponse:
        """Pausing a foreign subscription, or retiring a forgotten one of ours: asked for, then confirmed."""
        company = self.permitted_object(request, company_id, to_change=True)
        row = next((row for row in company.listed if row["uuid"] == khoros_uuid), None)
        if row is not None and (change == "retire") != is_forgotten(row["externalId"]):
            row = None
        subscription_id = request.GET.get("subscription", "")
        is_number = subscription_id.isdecimal() and len(subscription_id) < 18
        subscription = (
            Subscription.objects.filter(company=company, pk=int(subscription_id)).first() if is_number else None
        )
        if request.method == "POST":
            return self._carry_out(request, company, khoros_uuid, change, subscription)
        return self.own_page(
            request,
            "admin/integrations/change_at_khoros.html",
            company,
            "Pause this subscription at Khoros?" if change == "pause" else "Delete this subscription at Khoros?",
            row=row,
            change=change,
            whose=OWNERS[plan.whose(row["externalId"], plan.prefix_of(Installation.own_uuid()))] if row else "",
        )

    def _carry_out(
        self, request: HttpRequest, company: Company, khoros_uuid: str, change: str, subscription: Subscription | None
    ) -> HttpResponse:
        by = request.user.get_username()
        try:
            action = Change.Action.PAUSE_OTHER if change == "pause" else Change.Action.RETIRE_OTHER
            message = change_other(company, khoros_uuid, action, by, subscription)
            self.message_user(request, message, messages.SUCCESS)
        except (Failure, NoToken, LookupError) as error:
            self.message_user(request, f"Nothing changed. {error}", messages.ERROR)
        note_action(request, Company, [company.pk], f"{change} {khoros_uuid} at Khoros")
        if subscription is not None:
            check_soon([subscription.pk])
            return HttpResponseRedirect(reverse("admin:integrations_subscription_change", args=[subscription.pk]))
        return HttpResponseRedirect(reverse("admin:integrations_company_change", args=[company.pk]))


def _listed(row: dict[str, str], prefix: str, known: dict[str, Subscription], company: Company) -> dict[str, Any]:
    """A row for the company's page: whose the subscription at Khoros is, and what may be done about it."""
    whose = plan.whose(row["externalId"], prefix)
    subscription = known.get(row["externalId"])
    forgotten = whose == "ours" and subscription is None
    change = "retire" if forgotten else "pause" if whose != "ours" and row["status"] == "ACTIVE" else ""
    address = (
        reverse("admin:integrations_company_change_at_khoros", args=[company.pk, row["uuid"], change])
        if change and row["uuid"]
        else ""
    )
    label = {"retire": "Delete …", "pause": "Pause …"}.get(change, "")
    return row | {
        "whose": "Created by Casebridge, no longer used" if forgotten else OWNERS[whose],
        "subscription": subscription,
        "button": (address, label) if address else None,
    }
