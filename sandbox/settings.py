"""The settings of the sandbox: their defaults and what each may be set to."""

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

from sandbox.exchange import form_number

# The choices of each setting that has only a few; the first is the default.
CHOICES: dict[str, tuple[Any, ...]] = {
    "resubscribe": ("update", "second"),
    "pull_shape": ("data", "bare", "data_items", "data_events", "events", "strings", "inner"),
    "pull_order": ("newest", "oldest", "shuffled"),
    "pull_content_type": ("text/plain", "application/json"),
    "list_first_page": (0, 1),
    "list_shape": ("data", "bare", "data_items"),
    "list_shows_token_as": ("itself", "redacted", "hash"),
    "job_death": ("failed", "killed"),
    "agent_role": ("admin", "agent", "end-user"),
    "rate_headers": ("all", "new", "old", "x", "shouting", "none"),
    "named_limit_spelling": ("zendesk-ratelimit-", "zendesk-rate-limit-"),
}

# The clock that stamps webhook calls can be slow as well as fast.
BELOW_ZERO = ("webhook_clock_seconds",)


@dataclass(frozen=True)
class Settings:
    """`rate_limit` 0 means no limits, not even for look-ups, and no rate headers.

    Names beginning with `pull` concern collecting events, those with `list` the list of subscriptions; a largest page
    of 0 is no limit. `pull_keeps` is how many of the newest events a subscription has (0: all), `pull_burst` how many
    calls for events are answered before some are refused with 429 for a second, and each `pull_fails_every`th fails
    with 502. While the events of offset `pull_grows_at` are asked for, `pull_grows_by` more happen, once.
    `refuse_pushes` is how many of the next pushes are not made. `update_limit` is per minute, 0 for none.
    `job_dies_after` is the number of tickets after which the next job ends, once, in the state `job_death`.
    `user_limits` are those of `create_or_update` and need a `rate_limit` too. The agent is the one whose credentials
    are accepted; others use the account's limit evenly over each minute. With `webhooks_off` changes are not reported,
    not even later.
    """

    rate_limit: int = 700
    index_limit: int = 100
    update_limit: int = 0
    resubscribe: str = "update"
    labels_in_payload: bool = False
    push: bool = True
    idempotency_age_seconds: int = 7200
    pull: bool = True
    pull_shape: str = "data"
    pull_order: str = "newest"
    pull_largest_page: int = 0
    pull_ignores_limit: bool = False
    pull_ignores_offset: bool = False
    pull_consumes: bool = False
    pull_keeps: int = 0
    pull_burst: int = 0
    pull_fails_every: int = 0
    pull_grows_at: int = 0
    pull_grows_by: int = 0
    pull_content_type: str = "text/plain"
    push_twice: bool = False
    push_out_of_order: bool = False
    refuse_pushes: int = 0
    list_first_page: int = 0
    list_largest_page: int = 0
    list_repeats: bool = False
    list_shape: str = "data"
    list_shows_token: bool = True
    list_shows_token_as: str = "itself"  # noqa: S105 - a way of showing one
    list_leaves_out_paused: bool = False
    lists_end_with_404: bool = False
    refuse_status_changes: bool = False
    offers_forms: bool = True
    offers_custom_statuses: bool = True
    drops_unknown_ids: bool = False
    job_seconds_per_ticket: float = 0.0
    job_dies_after: int = 0
    job_death: str = "failed"
    user_limits: bool = True
    agent_role: str = "admin"
    agent_suspended: bool = False
    rate_headers: str = "all"
    named_limit_spelling: str = "zendesk-ratelimit-"
    others_use_per_minute: int = 0
    webhooks_twice: bool = False
    webhooks_out_of_order: bool = False
    webhooks_off: bool = False
    webhook_clock_seconds: int = 0
    refuse_webhook_setup: bool = False

    def changed(self, values: Mapping[str, Any]) -> "Settings":
        """A copy with some settings replaced. Raises ValueError with a sentence about the first bad one."""
        kinds = {each.name: type(getattr(self, each.name)) for each in fields(self)}
        return replace(self, **{name: _checked(name, value, kinds) for name, value in values.items()})

    def in_form(self, form: Mapping[str, str], names: Iterable[str]) -> dict[str, Any]:
        """The named settings as a form gives them. Raises ValueError with a sentence for a bad number."""
        kinds = {name: type(getattr(self, name)) for name in names}
        return {
            name: name in form if kind is bool else form_number(form, name, int) if kind is int else form.get(name, "")
            for name, kind in kinds.items()
        }


def _checked(name: str, value: Any, kinds: Mapping[str, type]) -> Any:
    if name not in kinds:
        raise ValueError(f"There is no setting called {name}. Known: {', '.join(kinds)}.")
    if kinds[name] is float and type(value) is int:
        value = float(value)
    if type(value) is not kinds[name]:
        raise ValueError(f"{name} must be of type {kinds[name].__name__}.")
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"{name} must be a finite number.")
    if isinstance(value, int | float) and value < 0 and name not in BELOW_ZERO:
        raise ValueError(f"{name} must not be negative.")
    if name in CHOICES and value not in CHOICES[name]:
        raise ValueError(f"{name} must be {' or '.join(json.dumps(each) for each in CHOICES[name])}.")
    return value
