"""Subscriptions: one page that shows whether a subscription is healthy, and the pages around it."""

from datetime import UTC, datetime, timedelta
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.db.models import Exists, OuterRef, QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import path, reverse
from unfold.decorators import display

from integrations.admin.base import LONGEST_NUMBER, ConfigurationAdmin, note_action, themed
from integrations.admin.companies import check_soon
from integrations.admin.forms import SubscriptionForm
from integrations.admin.guide import after_saving, is_guided
from integrations.admin.many_labels import ManyLabelsForm, subscribe_to_all
from integrations.admin.needs import SubscriptionNeeds
from integrations.admin.text.subscription import (
    last_comparison,
    latest_notification,
    probe_steps,
    reconciliation,
    run_text,
    subscription_text,
)
from integrations.admin.widgets import SuggestingInput
from integrations.infra import database_clock
from integrations.infra.encryption import UnreadableSecret
from integrations.infra.queue import CATCH_UP, SEND_PROBE, publish
from integrations.infra.text import timestamp
from integrations.installation import NoPublicAddress
from integrations.intake import BEARER_TOKEN_COLUMNS
from integrations.models import Alarm, CatchUp, Company, Installation, Subscription
from integrations.models.configuration import new_bearer_token, without_lists
from integrations.routing import fetch_missing
from integrations.sources.khoros import plan
from integrations.sources.khoros.events import EVENTS
from integrations.subscriptions import (
    change_bearer_token,
    delete_subscription,
    preview_query,
    request_catch_up,
    request_probe,
)

Registration = Subscription.Registration
REGISTRATION_COLOURS = {
    "registered": "success",
    "waiting": "info",
    "refused": "danger",
    "unreachable": "warning",
    "not_possible": "warning",
    "drifted": "danger",
    "paused": "default",
    "retired": "default",
}
LONGEST_PERIOD = timedelta(days=92)
USUAL_PERIOD = timedelta(days=7)
PROBE_TITLE = "Test notification"


class KeptFilter(admin.SimpleListFilter):
    """Deleted subscriptions keep their history; they are listed only on request."""

    title = "deleted"
    parameter_name = "deleted"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("yes", "Deleted subscriptions")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Subscription]) -> QuerySet[Subscription]:
        return queryset.filter(deleted_at__isnull=self.value() != "yes")


@admin.register(Subscription)
class SubscriptionAdmin(ConfigurationAdmin):
    form = SubscriptionForm
    owned = (*SubscriptionForm.Meta.fields, "registration")
    list_display = ("listens_to", "company", "event_name", "health", "registration_label", "last_received", "others")
    list_display_links = ("listens_to",)
    list_filter = ("registration", "company", "is_active", SubscriptionNeeds, KeptFilter)
    handbook_part = "khoros"
    actions = (
        "check_now",
        "repair_now",
        "fetch_now",
        "switch_on",
        "switch_off",
        "rotate_token",
        "take_secret_from_environment",
    )
    search_fields = ("label", "event_name", "company__name")
    search_help_text = "Search by label, event or company"
    ordering = ("company__name", "label", "id")
    sortable_by = ()
    change_form_outer_before_template = "admin/integrations/subscription_page.html"
    change_form_outer_after_template = None
    fieldsets: tuple[tuple[str | None, dict[str, Any]], ...] = (
        (None, {"fields": ("company", "event_name", "match", "label", "is_active")}),
        ("Receiving", {"fields": ("receives_by", "auto_repair")}),
        ("Silence alarm", {"fields": ("silence_alarm", "silence_hours")}),
        ("Targets", {"fields": ("ticket_target_minutes", "solve_target_minutes")}),
        ("Mappings and bearer token", {"fields": ("mappings_text", "new_bearer_token", "token_state")}),
    )
    readonly_fields = ("mappings_text", "token_state")

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        if obj is None:
            # What has a good value already is folded while a new one is filled in.
            folded = (*self.fieldsets[1:-1], ("Bearer token", {"fields": ("new_bearer_token",)}))
            first = self.fieldsets[0]
            if is_guided(request):
                first = (None, {"fields": ("company", "label")})
                folded = (("Other than a label", {"fields": ("event_name", "match", "is_active")}), *folded)
            return (first, *((title, options | {"classes": ["collapse"]}) for title, options in folded))
        if self.has_change_permission(request, obj):
            return self.fieldsets
        return (*self.fieldsets[:-1], ("Mappings and bearer token", {"fields": ("mappings_text", "token_state")}))

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        """The company is fixed: with another one's token the subscription at Khoros could not be changed any more."""
        return (*self.readonly_fields, "company") if obj else self.readonly_fields

    def get_queryset(self, request: HttpRequest) -> QuerySet[Subscription]:
        open_alarms = Alarm.objects.filter(subscription=OuterRef("pk"), ended_at__isnull=True)
        # The portal's own is no subscription at Khoros; its mappings are found beside the alarms.
        rows = super().get_queryset(request).filter(company__isnull=False).annotate(has_alarm=Exists(open_alarms))
        rows = rows.annotate(latest_at=latest_notification())
        return rows.select_related("company").defer(*without_lists("company__"))

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """The portal's own is shown with the alarms that it passes on."""
        is_number = object_id.isascii() and object_id.isdigit() and len(object_id) < LONGEST_NUMBER
        if is_number and Subscription.objects.filter(pk=int(object_id), company__isnull=True).exists():
            return HttpResponseRedirect(reverse("admin:integrations_alarm_changelist"))
        return super().change_view(request, object_id, form_url, extra_context)

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        may = self.has_add_permission(request) and request.user.has_perm("integrations.add_mapping")
        many = reverse("admin:integrations_subscription_many"), "Subscribe to many labels at once"
        return super().changelist_view(request, ({"list_link": many} if may else {}) | (extra_context or {}))

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        is_deleted = obj is not None and obj.deleted_at is not None
        return not is_deleted and super().has_change_permission(request, obj)

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:
        form = super().get_form(request, obj, change=change, **kwargs)
        if obj is None and is_guided(request):
            label = form.base_fields["label"]
            label.label, label.help_text = "Label", "Exactly as agents see it, for example CreateCase."
        return form

    def formfield_for_dbfield(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        field = super().formfield_for_dbfield(db_field, request, **kwargs)
        if field is not None and db_field.name == "event_name":
            field.widget = SuggestingInput("known-events", [(name, kind.title) for name, kind in EVENTS.items()])
        if field is not None and db_field.name == "label":
            field.widget = SuggestingInput("known-labels", _known_labels())
        return field

    # --- The list ---

    @admin.display(description="Label", ordering="label")
    def listens_to(self, subscription: Subscription) -> str:
        return subscription.listens_to

    @display(description="Health", label={"good": "success", "bad": "danger", "open": "info", "off": "default"})
    def health(self, subscription: Any) -> tuple[str, str]:
        if subscription.deleted_at:
            return "off", "Deleted"
        if not subscription.is_active:
            return "off", "Off"
        if subscription.has_alarm:
            return "bad", "Alarm"
        return ("good", "Healthy") if subscription.registration == Registration.REGISTERED else ("open", "Not ready")

    @display(description="Registration", label=REGISTRATION_COLOURS)
    def registration_label(self, subscription: Subscription) -> tuple[str, str]:
        return subscription.registration, subscription.get_registration_display()

    @admin.display(description="Last notification")
    def last_received(self, subscription: Any) -> str:
        return timestamp(subscription.latest_at)

    @admin.display(description="Same label elsewhere")
    def others(self, subscription: Subscription) -> str:
        count = sum(1 for other in subscription.other_subscriptions if other.get("status") in ("ACTIVE", ""))
        return f"{count}: may create duplicate tickets" if count else "–"

    # --- The page ---

    @admin.display(description="Mappings")
    def mappings_text(self, subscription: Subscription) -> str:
        names = [f"{mapping.name}{'' if mapping.is_active else ' (off)'}" for mapping in subscription.mappings.all()]
        return ", ".join(names) or "None yet: notifications are stored but not sent on."

    @admin.display(description="Stored bearer token")
    def token_state(self, subscription: Subscription) -> str:
        return self.secret_text(subscription.bearer_token)

    def notices(self, request: HttpRequest, obj: Subscription) -> list[tuple[str, str]]:
        found = self.environment_notices(obj)
        if not obj.bearer_token.is_readable:
            message = (
                f"The bearer token {UnreadableSecret.message}. Until then, Khoros' calls are answered with status 503."
            )
            found.append(("error", message))
        if obj.company.warning:
            found.append(("warning", obj.company.warning))
        return found

    def facts(self, request: HttpRequest, obj: Subscription) -> dict[str, Any]:
        name = "admin:integrations_company_change_at_khoros"
        found = subscription_text(obj)
        may_change, prefix = self.has_change_permission(request, obj), plan.prefix_of(Installation.own_uuid())
        for other in found["others"]:
            is_own = plan.whose(other.get("externalId", ""), prefix) == "ours"
            other["whose"] = "Casebridge (another subscription)" if is_own else "Someone else"
            if may_change and not is_own and other.get("uuid") and other.get("status") in ("ACTIVE", ""):
                other["pause_url"] = (
                    f"{reverse(name, args=[obj.company_id, other['uuid'], 'pause'])}?subscription={obj.pk}"
                )
        return found

    def buttons(self, request: HttpRequest, obj: Subscription) -> list[str]:
        if obj.deleted_at:
            return ["check_now"]
        is_broken = obj.is_active and obj.registration != Registration.REGISTERED
        return [
            "check_now",
            *(["repair_now"] if is_broken else []),
            *(["fetch_now"] if obj.is_fetched and obj.khoros_uuid else []),
            "switch_off" if obj.is_active else "switch_on",
            *(["rotate_token"] if obj.is_pushed else []),
            *self.environment_buttons(obj),
        ]

    def links(self, request: HttpRequest, obj: Subscription) -> list[tuple[str, str]]:
        pages = [("reconciliation", "Reconciliation"), ("probe", PROBE_TITLE), ("query_preview", "Try a label")]
        if not obj.is_pushed:
            pages.remove(("probe", PROBE_TITLE))
        links = [(self._address(name, obj), title) for name, title in pages]
        log = f"{reverse('admin:integrations_notification_changelist')}?subscription__id__exact={obj.pk}"
        mapping = f"{reverse('admin:integrations_mapping_add')}?subscription={obj.pk}"
        may_add = not obj.deleted_at and request.user.has_perm("integrations.add_mapping")
        return [*links, (log, "Notifications"), *([(mapping, "Add a mapping")] if may_add else [])]

    @staticmethod
    def _address(name: str, obj: Subscription) -> str:
        return reverse(f"admin:integrations_subscription_{name}", args=[obj.pk])

    def render_change_form(
        self, request: HttpRequest, context: dict[str, Any], *args: Any, **options: Any
    ) -> HttpResponse:
        """In the guide, a label that has its subscription already goes on with that."""
        existing = getattr(context["adminform"].form, "existing", None)
        if existing is None or context["original"] is not None or not is_guided(request):
            return super().render_change_form(request, context, *args, **options)
        messages.info(request, f"There is a subscription to “{existing}” already: the guide goes on with it.")
        return after_saving(request, existing)

    def save_model(self, request: HttpRequest, obj: Subscription, form: Any, change: bool) -> None:
        obj.registration = Registration.WAITING
        columns: tuple[str, ...] = self.owned
        if form.token_changed:
            columns = (*columns, *BEARER_TOKEN_COLUMNS)
        obj.save(update_fields=columns if change else None)
        if form.remark:
            self.message_user(request, form.remark, messages.WARNING)
        check_soon([obj.pk], request.user.get_username())

    # --- Actions ---

    def after_switching(self, ids: list[int]) -> None:
        check_soon(ids)

    def _request_checks(
        self, request: HttpRequest, queryset: QuerySet[Subscription], action: str, by: str
    ) -> list[int]:
        ids = list(queryset.values_list("pk", flat=True))
        check_soon(ids, by)
        note_action(request, Subscription, ids, action)
        return ids

    @admin.action(description="Check at Khoros", permissions=["change_action"])
    def check_now(self, request: HttpRequest, queryset: QuerySet[Subscription]) -> HttpResponse | None:
        self._request_checks(request, queryset, "check_now", "")
        self.message_user(request, "Checking at Khoros. Reload this page in a few seconds.", messages.SUCCESS)
        return self.back(request)

    @admin.action(description="Repair at Khoros", permissions=["change_action"])
    def repair_now(self, request: HttpRequest, queryset: QuerySet[Subscription]) -> HttpResponse | None:
        self._request_checks(request, queryset, "repair_now", request.user.get_username())
        message = "Repairing at Khoros. Reload this page in a few seconds."
        self.message_user(request, message, messages.SUCCESS)
        return self.back(request)

    @admin.action(description="Fetch now", permissions=["change_action"])
    def fetch_now(self, request: HttpRequest, queryset: QuerySet[Subscription]) -> HttpResponse | None:
        for subscription in queryset:
            self._request_reading(request, subscription, CatchUp.Mode.WHOLE)
        self.message_user(request, "Fetching events from Khoros. Reload this page to see the progress.")
        return self.back(request)

    @staticmethod
    def _request_reading(request: HttpRequest, subscription: Subscription, mode: CatchUp.Mode) -> None:
        request_catch_up(subscription, mode, request.user.get_username())
        note_action(
            request, Subscription, [subscription.pk], f"Started a catch-up ({CatchUp.Mode(mode).label.lower()})"
        )
        transaction.on_commit(lambda: publish(CATCH_UP, subscription.pk), robust=True)

    @admin.action(description="Turn off (pause at Khoros)", permissions=["change_action"])
    def switch_off(self, request: HttpRequest, queryset: QuerySet[Subscription]) -> HttpResponse | None:
        return self._switch(request, queryset, on=False)

    @admin.action(description="Turn on (resume at Khoros)", permissions=["change_action"])
    def switch_on(self, request: HttpRequest, queryset: QuerySet[Subscription]) -> HttpResponse | None:
        return self._switch(request, queryset, on=True)

    def _switch(self, request: HttpRequest, queryset: QuerySet[Subscription], *, on: bool) -> HttpResponse | None:
        there = queryset.filter(is_active=not on, deleted_at__isnull=True)
        ids = list(there.values_list("pk", flat=True))
        Subscription.objects.filter(pk__in=ids).update(is_active=on, registration=Registration.WAITING)
        check_soon(ids, request.user.get_username())
        note_action(request, Subscription, ids, "switch_on" if on else "switch_off")
        self.message_user(request, f"{len(ids)} turned {'on' if on else 'off'}.", messages.SUCCESS)
        return self.back(request)

    @admin.action(description="Generate a new bearer token", permissions=["change_action"])
    def rotate_token(self, request: HttpRequest, queryset: QuerySet[Subscription]) -> HttpResponse | None:
        for subscription in queryset.filter(deleted_at__isnull=True):
            change_bearer_token(subscription, new_bearer_token(), request.user.get_username())
            check_soon([subscription.pk], request.user.get_username())
            note_action(request, Subscription, [subscription.pk], "rotate_token")
        message = (
            "A new bearer token was generated and is being sent to Khoros. The old one stays valid until one day after "
            "Khoros starts using the new one."
        )
        self.message_user(request, message, messages.SUCCESS)
        return self.back(request)

    # --- Deleting ---

    def delete_view(
        self, request: HttpRequest, object_id: str, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Retires the subscription at Khoros and keeps what the log refers to."""
        subscription = self.get_object(request, object_id)
        if subscription is None or not self.has_delete_permission(request, subscription):
            return super().delete_view(request, object_id, extra_context)
        if request.method != "POST":
            return self.own_page(
                request,
                "admin/integrations/delete_subscription.html",
                subscription,
                f"Delete “{subscription}”?",
                notifications=subscription.notifications.exists(),
                mappings=subscription.mappings.filter(is_active=True),
            )
        delete_subscription(subscription, request.user.get_username())
        check_soon([subscription.pk], request.user.get_username())
        note_action(request, Subscription, [subscription.pk], "deleted")
        message = (
            f"“{subscription}” is being deleted at Khoros. Its history is kept: filter the list by “Deleted "
            "subscriptions”."
        )
        self.message_user(request, message, messages.SUCCESS)
        return HttpResponseRedirect(reverse("admin:integrations_subscription_changelist"))

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        is_deleted = obj is not None and obj.deleted_at is not None
        return not is_deleted and super().has_delete_permission(request, obj)

    # --- Pages around it ---

    def get_urls(self) -> list[Any]:
        many = path("many/", self.admin_site.admin_view(self.many_labels), name="integrations_subscription_many")
        views = {"reconciliation": self.reconciliation, "probe": self.probe, "query_preview": self.query_preview}
        own = [
            path(
                f"<int:object_id>/{name.replace('_', '-')}/",
                self.admin_site.admin_view(view),
                name=f"integrations_subscription_{name}",
            )
            for name, view in views.items()
        ]
        return [many, *own, *super().get_urls()]

    def next_step(self, obj: Subscription) -> tuple[str, str]:
        return f"{reverse('admin:integrations_mapping_add')}?subscription={obj.pk}", f"make a mapping for “{obj}”"

    def many_labels(self, request: HttpRequest) -> HttpResponse:
        """Labels ticked or pasted, a subscription for each and a mapping like one that there is."""
        if not (self.has_add_permission(request) and request.user.has_perm("integrations.add_mapping")):
            raise PermissionDenied
        companies = list(Company.objects.order_by("name"))
        named = request.POST.get("company") or request.GET.get("company") or ""
        company = next((one for one in companies if str(one.pk) == named), None)
        if company is None and named:
            raise Http404
        company = company or next(iter(companies), None)
        if company is None:
            messages.info(request, "Add a company first: it has the labels.")
            return HttpResponseRedirect(reverse("admin:integrations_company_add"))
        form = ManyLabelsForm(company, request.POST or None)
        if request.method == "POST" and form.is_valid():
            made = subscribe_to_all(company, form.cleaned_data["names"], form.cleaned_data["like"])
            if not made:
                messages.info(request, "All of these labels already have a subscription.")
                return HttpResponseRedirect(reverse("admin:integrations_subscription_changelist"))
            ids = [subscription.pk for subscription in made]
            check_soon(ids, request.user.get_username())
            note_action(request, Subscription, ids, "Added with others")
            mapped = " with a mapping each" if form.cleaned_data["like"] else ""
            labels = f"{len(made)} label{'' if len(made) == 1 else 's'}"
            messages.success(request, f"Subscribed to {labels}{mapped}. Khoros is being told of them one by one.")
            if skipped := form.cleaned_data["skipped"]:
                messages.info(request, f"Left out, as they have a subscription already: {', '.join(skipped[:20])}.")
            return HttpResponseRedirect(reverse("admin:integrations_subscription_changelist"))
        title = "Subscribe to many labels"
        context = {"form": form, "companies": companies, "company": company}
        return self.own_page(request, "admin/integrations/many_labels.html", None, title, **context)

    def reconciliation(self, request: HttpRequest, object_id: int) -> HttpResponse:
        """What was received in a period, what became of it, what is missing; and the button that fetches it."""
        subscription = self.permitted_object(request, object_id, to_change=request.method == "POST")
        if request.method == "POST":
            self._reconcile(request, subscription, fetch="fetch" in request.POST)
            return HttpResponseRedirect(request.get_full_path())
        form = PeriodForm(request.GET or None)
        begins, ends = form.period() if form.is_valid() else PeriodForm.usual()
        open_run = subscription.catch_ups.filter(state__in=["waiting", "running"]).first()
        compared = last_comparison(subscription)
        return self.own_page(
            request,
            "admin/integrations/reconciliation.html",
            subscription,
            f"Reconciliation: {subscription}",
            form=form
            if form.is_bound
            else PeriodForm(initial={"begins": begins.date(), "ends": (ends - timedelta(days=1)).date()}),
            begins=begins,
            ends=ends - timedelta(days=1),
            counts=reconciliation(subscription, begins, ends),
            running=run_text(open_run) if open_run else None,
            compared=run_text(compared) if compared else None,
            can_fetch=bool(subscription.khoros_uuid) and subscription.company.api_version == Company.ApiVersion.V2,
            may_change=self.has_change_permission(request, subscription),
            log_url=reverse("admin:integrations_notification_changelist"),
        )

    def _reconcile(self, request: HttpRequest, subscription: Subscription, *, fetch: bool) -> None:
        if not fetch:
            self._request_reading(request, subscription, CatchUp.Mode.COMPARE)
            self.message_user(request, "Comparing Khoros' events with the ones received.")
            return
        done = fetch_missing(subscription)
        self._request_reading(request, subscription, CatchUp.Mode.WHOLE)
        for remark in done.remarks:
            self.message_user(request, remark, messages.WARNING)
        found = f"Processing {len(done.changed)} missing notifications now. " if done.changed else ""
        self.message_user(request, f"{found}Fetching all events from Khoros.")

    def probe(self, request: HttpRequest, object_id: int) -> HttpResponse:
        """Sends a marked notification to the public address and shows how far it got."""
        subscription = self.permitted_object(request, object_id, to_change=request.method == "POST")
        if request.method == "POST":
            self._send_probe(request, subscription)
            return HttpResponseRedirect(request.path)
        paths = [probe_steps(probe) for probe in subscription.probes.all()[:5]]
        return self.own_page(
            request,
            "admin/integrations/probe.html",
            subscription,
            f"Test notification: {subscription}",
            paths=paths,
            is_open=any(path["is_open"] and _is_young(path["test"].requested_at) for path in paths),
            may_change=self.has_change_permission(request, subscription),
        )

    def _send_probe(self, request: HttpRequest, subscription: Subscription) -> None:
        wants = "makes_tickets" in request.POST
        try:
            test = request_probe(subscription, makes_tickets=wants, by=request.user.get_username())
        except NoPublicAddress as missing:
            self.message_user(request, str(missing), messages.ERROR)
            return
        note_action(
            request,
            Subscription,
            [subscription.pk],
            "Sent a test notification" + (" that creates tickets" if wants else ""),
        )
        transaction.on_commit(lambda: publish(SEND_PROBE, test.pk), robust=True)

    def query_preview(self, request: HttpRequest, object_id: int) -> HttpResponse:
        """Would Khoros send a post with this label? For the subscription's query, or another one before it is saved."""
        subscription = self.permitted_object(request, object_id)
        initial = {"match": subscription.match, "label": subscription.label, "tried": ""}
        form = LabelTesterForm(request.GET) if "tried" in request.GET else LabelTesterForm(initial=initial)
        form.fields["tried"].widget = SuggestingInput("known-labels", _known_labels())
        tried = form.cleaned_data if form.is_bound and form.is_valid() else None
        return self.own_page(
            request,
            "admin/integrations/query_preview.html",
            subscription,
            f"Try a label: {subscription}",
            form=form,
            tried=tried,
            preview=preview_query(tried["match"], tried["label"], tried["tried"]) if tried else None,
        )


class PeriodForm(forms.Form):
    """Whole days, UTC, both ends included."""

    begins = forms.DateField(label="From", widget=forms.TextInput(attrs={"type": "date"}))
    ends = forms.DateField(label="To", widget=forms.TextInput(attrs={"type": "date"}))

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        if "begins" in cleaned and "ends" in cleaned:
            span = cleaned["ends"] - cleaned["begins"]
            if span < timedelta(0):
                self.add_error("ends", "The end date is before the start date.")
            elif not 2000 <= cleaned["begins"].year <= cleaned["ends"].year < 2200:
                self.add_error("begins", "Choose dates between 2000 and 2199.")
            elif span > LONGEST_PERIOD:
                self.add_error("ends", f"Choose a period of at most {LONGEST_PERIOD.days} days.")
        return cleaned

    def period(self) -> tuple[datetime, datetime]:
        begins, ends = (self.cleaned_data[name] for name in ("begins", "ends"))
        return _midnight(begins), _midnight(ends) + timedelta(days=1)

    @staticmethod
    def usual() -> tuple[datetime, datetime]:
        ends = database_clock.now().replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(days=1)
        return ends - USUAL_PERIOD, ends


def _midnight(day: Any) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=UTC)


class LabelTesterForm(forms.Form):
    match = forms.ChoiceField(label="Match", choices=Subscription.Match.choices)
    label = forms.CharField(label="Label or expression", required=False, max_length=250)
    tried = forms.CharField(label="Label to try", max_length=250)


themed(SubscriptionForm)
themed(PeriodForm)
themed(LabelTesterForm)


def _known_labels() -> list[tuple[str, str]]:
    """Every company's cached labels, with the company's name where there is more than one."""
    rows = list(Company.objects.only("name", "labels"))
    found = []
    for company in rows:
        for label in company.labels:
            beside = f"{label['set']} ({company.name})" if len(rows) > 1 else label["set"]
            found.append((label["name"], beside))
    return found


def _is_young(moment: datetime) -> bool:
    return database_clock.now() - moment < timedelta(minutes=2)
