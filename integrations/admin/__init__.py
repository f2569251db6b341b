"""What staff see. No logic lives here: pages show what the models hold, and actions call the journey's own services."""

from django.contrib import admin

from integrations.admin import (
    alarms,
    batches,
    companies,
    connections,
    flood_holds,
    khoros_log,
    log,
    mappings,
    people,
    subscriptions,
    walls,
)

__all__ = [
    "alarms",
    "batches",
    "companies",
    "connections",
    "flood_holds",
    "khoros_log",
    "log",
    "mappings",
    "people",
    "subscriptions",
    "walls",
]

admin.site.site_title = admin.site.site_header = "Casebridge"
admin.site.index_title = "Overview"
admin.site.enable_nav_sidebar = True
