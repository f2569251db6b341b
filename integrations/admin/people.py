"""People, and errors of background tasks, in the portal's theme."""

from typing import Any

from django import forms
from django.contrib import admin
from django.contrib.auth.admin import UserAdmin as PlainUserAdmin
from django.contrib.auth.models import Group, User
from django.db.models import QuerySet
from django.http import HttpRequest
from django_celery_results.models import GroupResult, TaskResult
from unfold.admin import ModelAdmin
from unfold.forms import AdminPasswordChangeForm, UserChangeForm, UserCreationForm

from integrations.admin.base import CappedPaginator, ReadOnlyAdmin
from integrations.operations import ROLES

for model in (User, Group, TaskResult, GroupResult):
    admin.site.unregister(model)

WHAT_THEY_MAY = " ".join(f"{name} {what}." for name, what in ROLES.items())


@admin.register(User)
class UserAdmin(PlainUserAdmin, ModelAdmin):
    """Who may sign in, and as what. Whoever has an account uses these pages, so everybody is staff."""

    form = UserChangeForm
    add_form = UserCreationForm
    change_password_form = AdminPasswordChangeForm
    list_display = ("username", "name", "email", "roles", "is_active", "last_login")
    list_filter = ("is_active", "groups")
    filter_horizontal = ()
    readonly_fields = ("last_login", "date_joined")

    def get_fieldsets(self, request: HttpRequest, obj: User | None = None) -> Any:
        if obj is None:
            return ((None, {"fields": ("username", "password1", "password2", "email", "groups")}),)
        everything = ("is_superuser",) if request.user.is_superuser else ()
        return (
            (None, {"fields": ("username", "password")}),
            ("Person", {"fields": ("first_name", "last_name", "email")}),
            ("May do", {"fields": ("is_active", "groups", *everything)}),
            ("Times", {"fields": ("last_login", "date_joined")}),
        )

    def formfield_for_manytomany(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        if db_field.name != "groups":
            return super().formfield_for_manytomany(db_field, request, **kwargs)
        return forms.ModelMultipleChoiceField(
            Group.objects.order_by("name"),
            label="Role",
            # Without one a person would sign in and see nothing.
            required=request.path.endswith("/add/"),
            help_text=WHAT_THEY_MAY,
            widget=forms.CheckboxSelectMultiple,
        )

    def get_queryset(self, request: HttpRequest) -> QuerySet[User]:
        return super().get_queryset(request).prefetch_related("groups")

    def save_model(self, request: HttpRequest, obj: User, form: Any, change: bool) -> None:
        obj.is_staff = True
        super().save_model(request, obj, form, change)

    def has_change_permission(self, request: HttpRequest, obj: User | None = None) -> bool:
        """Not of those who may do more: whoever sets a password can sign in with it."""
        return self._is_not_above(request, obj) and super().has_change_permission(request, obj)

    def has_delete_permission(self, request: HttpRequest, obj: User | None = None) -> bool:
        return self._is_not_above(request, obj) and super().has_delete_permission(request, obj)

    @staticmethod
    def _is_not_above(request: HttpRequest, obj: User | None) -> bool:
        return obj is None or not obj.is_superuser or bool(request.user.is_superuser)

    @admin.display(description="Name")
    def name(self, user: User) -> str:
        return user.get_full_name() or "–"

    @admin.display(description="Role")
    def roles(self, user: User) -> str:
        named = [group.name for group in user.groups.all()]
        return ", ".join(["Everything"] * user.is_superuser + named) or "None: sees nothing"


@admin.register(TaskResult)
class TaskErrorAdmin(ReadOnlyAdmin):
    """Only errors are kept: what became of the work itself is in the log."""

    paginator = CappedPaginator
    list_after_template = None
    change_form_outer_before_template = None
    change_form_outer_after_template = None
    list_display = ("date_done", "task_name", "status", "task_args")
    ordering = ("-date_done",)
    fields = ("date_done", "task_name", "status", "task_args", "result", "traceback")
