"""Many labels at once: a subscription for each, and a mapping for each with the settings of one that there is."""

from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.db import transaction
from unfold.widgets import UnfoldAdminCheckboxSelectMultipleWidget, UnfoldAdminSelectWidget, UnfoldAdminTextareaWidget

from integrations.domain.post import LABEL_APPLIED
from integrations.intake import replace_bearer_token
from integrations.models import Company, Mapping, Subscription
from integrations.models.configuration import new_bearer_token

MOST_AT_ONCE, LONGEST_LABEL = 200, 250


class ManyLabelsForm(forms.Form):
    """Which labels of a company, ticked or pasted, and the mapping whose settings all of them get."""

    labels = forms.MultipleChoiceField(
        required=False,
        widget=UnfoldAdminCheckboxSelectMultipleWidget,
        help_text="From Khoros' label sets. Labels that have a subscription already are left out.",
    )
    pasted = forms.CharField(
        label="Or paste labels, one per line",
        required=False,
        max_length=60_000,
        widget=UnfoldAdminTextareaWidget(attrs={"rows": 6}),
        help_text="Exactly as agents see them.",
    )
    like = forms.ModelChoiceField(
        Mapping.objects.none(),
        label="Mapping with the settings for all",
        required=False,
        empty_label="None: create subscriptions only",
        widget=UnfoldAdminSelectWidget,
        help_text="Each label gets a mapping like this one: the same connection, texts, settings and conditions.",
    )

    def __init__(self, company: Company, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.taken = {label.casefold() for label in _labels_of(company)}
        names = dict.fromkeys(entry["name"] for entry in company.labels)
        self.fields["labels"].choices = [  # type: ignore[attr-defined]
            (name, name) for name in names if name.casefold() not in self.taken
        ]
        rows = Mapping.objects.filter(
            subscription__event_name=LABEL_APPLIED, subscription__company__isnull=False, follows=None
        )
        self.fields["like"].queryset = rows.order_by("name", "pk")  # type: ignore[attr-defined]

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        typed = (" ".join(line.split()) for line in (cleaned.get("pasted") or "").splitlines())
        # As ticked, then as pasted first.
        chosen: dict[str, str] = {}
        for name in [*(cleaned.get("labels") or []), *filter(None, typed)]:
            chosen.setdefault(name.casefold(), name)
        names = [name for key, name in chosen.items() if key not in self.taken]
        cleaned["skipped"] = [name for key, name in chosen.items() if key in self.taken]
        if not names:
            raise ValidationError("Tick or paste at least one label that has no subscription yet.")
        if len(names) > MOST_AT_ONCE:
            raise ValidationError(f"{len(names)} labels are too many at once: at most {MOST_AT_ONCE}.")
        if too_long := [name for name in names if len(name) > LONGEST_LABEL]:
            self.add_error("pasted", f"No label has more than {LONGEST_LABEL} characters: “{too_long[0][:60]}…”.")
        cleaned["names"] = names
        return cleaned


def _labels_of(company: Company) -> list[str]:
    rows = Subscription.objects.filter(company=company, event_name=LABEL_APPLIED, deleted_at__isnull=True)
    return list(rows.filter(match=Subscription.Match.LABEL).values_list("label", flat=True))


def subscribe_to_all(company: Company, names: list[str], like: Mapping | None) -> list[Subscription]:
    """A subscription for each label that has none, with a mapping like that one; all of them or none.

    One at a time for a company: pressed twice, the second finds that all have one.
    """
    with transaction.atomic():
        Company.objects.select_for_update().only("pk").get(pk=company.pk)
        taken = {label.casefold() for label in _labels_of(company)}
        free = [name for name in names if name.casefold() not in taken]
        made = [_subscribe(company, name, like.subscription if like else None) for name in free]
        if like is not None:
            for subscription in made:
                _map(subscription, like)
    return made


def _subscribe(company: Company, label: str, like: Subscription | None) -> Subscription:
    """With the settings of another subscription, where there is one."""
    subscription = Subscription(company=company, label=label)
    if company.api_version == Company.ApiVersion.V1:
        subscription.receives_by = Subscription.Receives.PUSH
    if like is not None:
        for name in ("auto_repair", "silence_alarm", "silence_hours", "ticket_target_minutes", "solve_target_minutes"):
            setattr(subscription, name, getattr(like, name))
    replace_bearer_token(subscription, new_bearer_token())
    subscription.save()
    return subscription


def _map(subscription: Subscription, like: Mapping) -> None:
    Mapping.objects.create(
        name=f"{subscription.label}: {like.connection.name}"[:120],
        subscription=subscription,
        connection=like.connection,
        is_active=like.is_active,
        settings=like.settings,
        conditions=like.conditions,
    )
