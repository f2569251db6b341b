"""Addresses of the portal. /healthz and /readyz are answered earlier, by portal.middleware."""

from django.contrib import admin
from django.urls import include, path
from django.views.generic import RedirectView

from integrations import walls
from integrations.admin.account import account_page, delete_filter, save_filter
from integrations.admin.find import find_page, handbook_page
from integrations.admin.guide import guide_page
from integrations.intake import khoros_webhook
from integrations.outcomes import account_webhook

urlpatterns = [
    path("", RedirectView.as_view(pattern_name="admin:index"), name="home"),
    path("webhooks/khoros/<str:address>", khoros_webhook, name="khoros-webhook"),
    path("webhooks/khoros/<str:address>/", khoros_webhook),
    path("webhooks/zendesk/<str:address>", account_webhook, name="account-webhook"),
    path("webhooks/zendesk/<str:address>/", account_webhook),
    path("walls/", include(walls.URLS)),
    path("admin/find/", admin.site.admin_view(find_page), name="find"),
    path("admin/account/", admin.site.admin_view(account_page), name="account"),
    path("admin/filters/save/", admin.site.admin_view(save_filter), name="saved-filter-save"),
    path("admin/filters/<int:pk>/delete/", admin.site.admin_view(delete_filter), name="saved-filter-delete"),
    path("admin/new/", admin.site.admin_view(guide_page), name="guide"),
    path("admin/handbook/", admin.site.admin_view(handbook_page), name="handbook"),
    path("admin/", admin.site.urls),
]

handler400 = "portal.errors.bad_request"
handler403 = "portal.errors.forbidden"
handler404 = "portal.errors.not_found"
handler500 = "portal.errors.server_error"
