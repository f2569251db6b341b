"""Batches: calls that make many tickets at once."""

from django.contrib import admin
from unfold.decorators import display

from integrations.admin.base import ReadOnlyAdmin
from integrations.models import Batch


@admin.register(Batch)
class BatchAdmin(ReadOnlyAdmin):
    empty_text = "Nothing was sent in a batch yet: that happens where a queue would take too long one by one."
    list_display = ("started_at", "connection", "state_label", "size", "made", "failed", "number")
    list_filter = ("state", "connection")
    list_select_related = ("connection",)
    ordering = ("-started_at", "-id")
    sortable_by = ()
    list_after_template = None
    fields = (
        "started_at",
        "finished_at",
        "connection",
        "state",
        "number",
        "size",
        "made",
        "failed",
        "polls",
        "message",
    )
    readonly_fields = ("size",)

    @display(
        description="State",
        label={"done": "success", "unknown": "warning", "refused": "danger", "running": "info", "sending": "info"},
    )
    def state_label(self, batch: Batch) -> tuple[str, str]:
        return batch.state, batch.get_state_display()

    @admin.display(description="Requested")
    def size(self, batch: Batch) -> int:
        return len(batch.delivery_ids)
