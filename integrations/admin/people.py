"""People, and errors of background tasks, in the portal's theme."""

from django.contrib import admin
from django.contrib.auth.admin import GroupAdmin as PlainGroupAdmin
from django.contrib.auth.admin import UserAdmin as PlainUserAdmin
from django.contrib.auth.models import Group, User
from django_celery_results.models import GroupResult, TaskResult
from unfold.admin import ModelAdmin
from unfold.forms import AdminPasswordChangeForm, UserChangeForm, UserCreationForm

from integrations.admin.base import CappedPaginator, ReadOnlyAdmin

for model in (User, Group, TaskResult, GroupResult):
    admin.site.unregister(model)


@admin.register(User)
class UserAdmin(PlainUserAdmin, ModelAdmin):
    form = UserChangeForm
    add_form = UserCreationForm
    change_password_form = AdminPasswordChangeForm


@admin.register(Group)
class GroupAdmin(PlainGroupAdmin, ModelAdmin):
    pass


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
