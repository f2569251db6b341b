"""The record of what Casebridge changed and read at Khoros."""

from django.contrib import admin
from django.utils.text import capfirst
from unfold.decorators import display

from integrations.admin.base import ReadOnlyAdmin
from integrations.admin.text.subscription import run_text
from integrations.models import CatchUp, Change


@admin.register(Change)
class ChangeAdmin(ReadOnlyAdmin):
    empty_text = (
        "Casebridge has changed nothing at Khoros yet. Subscriptions that it creates or repairs there are listed here."
    )
    list_display = ("started_at", "action", "subscription", "who", "reason", "end")
    list_filter = ("action", "company")
    list_select_related = ("subscription", "company")
    ordering = ("-started_at", "-id")
    sortable_by = ()
    list_after_template = None
    fields = ("started_at", "action", "company", "subscription", "khoros_uuid", "reason", "who", "end", "message")
    readonly_fields = ("reason", "who", "end")

    @admin.display(description="By")
    def who(self, change: Change) -> str:
        return change.by or "Casebridge (regular check)"

    @admin.display(description="Reason")
    def reason(self, change: Change) -> str:
        return capfirst(change.because)

    @admin.display(description="Done")
    def end(self, change: Change) -> str:
        if change.is_done:
            return "Yes"
        return "No" if change.finished_at else "Interrupted: the process stopped before Khoros answered"


@admin.register(CatchUp)
class CatchUpAdmin(ReadOnlyAdmin):
    empty_text = "Nothing was fetched yet. Casebridge asks Khoros regularly for what a push may have missed."
    list_display = ("started_at", "subscription", "mode", "state_label", "read", "known", "new", "unreadable", "who")
    list_filter = ("state", "mode", "subscription")
    list_select_related = ("subscription",)
    ordering = ("-started_at", "-id")
    sortable_by = ()
    list_after_template = None
    fields = (
        "subscription", "mode", "state", "who", "started_at", "finished_at", "pages", "read", "known", "new",
        "unreadable", "missing", "in_full",
    )  # fmt: skip
    readonly_fields = ("who", "in_full")

    @display(description="State", label={"done": "success", "failed": "danger", "running": "info", "waiting": "info"})
    def state_label(self, run: CatchUp) -> tuple[str, str]:
        return run.state, run.get_state_display()

    @admin.display(description="Started by")
    def who(self, run: CatchUp) -> str:
        return run.requested_by or "Automatic"

    @admin.display(description="Result")
    def in_full(self, run: CatchUp) -> str:
        return str(run_text(run)["message"])
