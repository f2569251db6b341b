"""The tables as they are at the first release, and the one row about this installation."""

import django.contrib.postgres.fields
import django.contrib.postgres.indexes
import django.db.models.deletion
import django.db.models.functions.datetime
import django.db.models.functions.text
import integrations.models.fields
import uuid
from django.conf import settings
from django.contrib.postgres.operations import TrigramExtension
from django.db import migrations, models


def make_the_row(apps, _schema_editor):
    apps.get_model("integrations", "Installation").objects.get_or_create(id=1)


class Migration(migrations.Migration):
    initial = True

    dependencies = [
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        TrigramExtension(),
        migrations.CreateModel(
            name="Connection",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("uuid", models.UUIDField(default=uuid.uuid4, editable=False, unique=True)),
                ("name", models.CharField(help_text="Name shown in Casebridge.", max_length=120)),
                ("kind", models.CharField(editable=False, max_length=40)),
                ("settings", models.JSONField(default=dict, editable=False)),
                ("secrets", integrations.models.fields.SecretField(blank=True, default="", editable=False)),
                (
                    "is_active",
                    models.BooleanField(
                        default=True,
                        help_text="Off: nothing is sent and new posts are ignored. Deliveries that already wait keep waiting.",
                        verbose_name="active",
                    ),
                ),
                (
                    "look_up_before_create",
                    models.BooleanField(
                        default=False,
                        help_text="Before anything is created, check whether it already exists. Slower, and rarely needed: what happened a while ago is looked up anyway, also after restoring the database from a backup.",
                        verbose_name="look up before creating",
                    ),
                ),
                (
                    "limit_share",
                    models.PositiveSmallIntegerField(
                        db_default=100,
                        default=100,
                        help_text="All integrations of the account share one rate limit. 100 uses whatever the others leave; 50 never uses more than half.",
                        verbose_name="share of the rate limit (%)",
                    ),
                ),
                (
                    "backlog_minutes",
                    models.PositiveSmallIntegerField(
                        db_default=5,
                        default=5,
                        help_text="If the queue of new posts would take longer than this to clear, many are sent with one call. Enter 0 to never send in batches.",
                        verbose_name="backlog threshold (minutes)",
                    ),
                ),
                (
                    "breaker_enabled",
                    models.BooleanField(
                        db_default=True,
                        default=True,
                        help_text="After repeated failures to reach the account, only one delivery at a time is attempted until one succeeds.",
                        verbose_name="outage protection",
                    ),
                ),
                ("retry_delays", models.JSONField(db_default=[], default=list, editable=False)),
                ("from_environment", models.BooleanField(default=False, editable=False)),
                ("access_token", integrations.models.fields.SecretField(blank=True, default="", editable=False)),
                ("access_token_expires_at", models.DateTimeField(editable=False, null=True)),
                (
                    "refresh_token",
                    integrations.models.fields.SecretField(blank=True, db_default="", default="", editable=False),
                ),
                ("renewing_until", models.DateTimeField(editable=False, null=True)),
                (
                    "granted_scope",
                    models.CharField(blank=True, db_default="", default="", editable=False, max_length=500),
                ),
                ("checks", models.JSONField(db_default=[], default=list, editable=False)),
                ("checked_at", models.DateTimeField(editable=False, null=True, verbose_name="last tested")),
                ("clock_skew_seconds", models.IntegerField(db_default=0, default=0, editable=False)),
                ("paused_at", models.DateTimeField(editable=False, null=True)),
                ("paused_until", models.DateTimeField(editable=False, null=True)),
                ("pause_reason", models.TextField(blank=True, default="", editable=False)),
                ("paused_by", models.CharField(blank=True, default="", editable=False, max_length=150)),
                ("consecutive_limits", models.PositiveIntegerField(default=0, editable=False)),
                ("transport_failures", models.PositiveIntegerField(db_default=0, default=0, editable=False)),
                ("breaker_opened_at", models.DateTimeField(editable=False, null=True)),
                ("breaker_probe_at", models.DateTimeField(editable=False, null=True)),
                ("breaker_reason", models.TextField(blank=True, db_default="", default="", editable=False)),
                ("backlog_since", models.DateTimeField(editable=False, null=True)),
                ("batch_wait_until", models.DateTimeField(editable=False, null=True)),
                ("webhook_id", models.CharField(blank=True, db_default="", default="", editable=False, max_length=80)),
                (
                    "webhook_secret",
                    integrations.models.fields.SecretField(blank=True, db_default="", default="", editable=False),
                ),
                ("webhook_problem", models.TextField(blank=True, db_default="", default="", editable=False)),
                ("webhook_called_at", models.DateTimeField(editable=False, null=True)),
                ("created_at", models.DateTimeField(auto_now_add=True)),
            ],
            options={
                "ordering": ["name"],
            },
        ),
        migrations.CreateModel(
            name="Alarm",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "kind",
                    models.CharField(
                        choices=[
                            ("silence", "Silence"),
                            ("drift", "Out of sync at Khoros"),
                            ("registration", "Registration refused"),
                            ("token", "API token"),
                            ("catch_up", "Catch-up failing"),
                            ("pushes_lost", "Pushes not arriving"),
                            ("connection", "Connection paused"),
                            ("breaker", "Account unreachable"),
                            ("token_end", "Sign-in expires"),
                            ("mapping", "Mapping needs fixing"),
                            ("flood", "Flood of posts"),
                            ("target", "Target missed"),
                            ("failed", "Deliveries failed"),
                            ("unreadable", "Notifications unreadable"),
                            ("worker", "No worker answers"),
                            ("beat", "Beat is not running"),
                            ("sweep", "Background work stopped"),
                        ],
                        max_length=12,
                    ),
                ),
                ("cause", models.CharField(blank=True, default="", max_length=250)),
                ("message", models.TextField()),
                ("reason", models.CharField(blank=True, default="", max_length=500)),
                ("count", models.PositiveIntegerField(default=0)),
                ("has_news", models.BooleanField(default=False)),
                (
                    "raised_at",
                    models.DateTimeField(
                        db_default=django.db.models.functions.datetime.Now(), verbose_name="raised at"
                    ),
                ),
                ("ended_at", models.DateTimeField(null=True, verbose_name="resolved at")),
                ("acknowledged_by", models.CharField(blank=True, default="", max_length=150)),
                ("acknowledged_at", models.DateTimeField(null=True)),
                ("note", models.CharField(blank=True, default="", max_length=500)),
                ("snoozed_until", models.DateTimeField(null=True)),
                ("mailed_at", models.DateTimeField(null=True, verbose_name="mailed")),
                ("end_mailed_at", models.DateTimeField(null=True)),
                ("mail_problem", models.TextField(blank=True, default="")),
                ("told", models.PositiveIntegerField(db_default=0, default=0)),
            ],
            options={
                "ordering": ["-raised_at", "-id"],
            },
        ),
        migrations.CreateModel(
            name="Attempt",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("number", models.PositiveIntegerField()),
                ("key_version", models.PositiveIntegerField(verbose_name="idempotency key version")),
                (
                    "started_at",
                    models.DateTimeField(db_default=django.db.models.functions.datetime.Now(), verbose_name="started"),
                ),
                ("finished_at", models.DateTimeField(null=True, verbose_name="finished")),
                (
                    "outcome",
                    models.CharField(
                        blank=True,
                        choices=[
                            ("delivered", "Delivered"),
                            ("retry", "Will retry"),
                            ("refused", "Refused"),
                            ("given_up", "Given up"),
                            ("paused", "Connection paused"),
                            ("waited", "Waiting for the rate limit"),
                        ],
                        default="",
                        max_length=10,
                    ),
                ),
                ("status", models.PositiveIntegerField(null=True, verbose_name="status")),
                ("duration_ms", models.PositiveIntegerField(null=True, verbose_name="duration (ms)")),
                ("meaning", models.TextField(blank=True, default="")),
                ("detail", models.TextField(blank=True, default="", verbose_name="response")),
                ("request", integrations.models.fields.PackedTextField()),
                ("exchanges", integrations.models.fields.PackedJSONField()),
            ],
            options={
                "ordering": ["-started_at", "-id"],
            },
        ),
        migrations.CreateModel(
            name="Batch",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("claim", models.UUIDField(default=uuid.uuid4, unique=True)),
                ("delivery_ids", models.JSONField(default=list)),
                (
                    "state",
                    models.CharField(
                        choices=[
                            ("sending", "Sending"),
                            ("running", "Being processed"),
                            ("done", "Done"),
                            ("unknown", "Unknown (looked up one by one)"),
                            ("refused", "Refused"),
                        ],
                        default="sending",
                        max_length=8,
                    ),
                ),
                ("number", models.CharField(blank=True, default="", max_length=120, verbose_name="job number")),
                ("message", models.TextField(blank=True, default="")),
                ("made", models.PositiveIntegerField(default=0, verbose_name="created")),
                ("failed", models.PositiveIntegerField(default=0)),
                ("polls", models.PositiveIntegerField(default=0)),
                (
                    "started_at",
                    models.DateTimeField(db_default=django.db.models.functions.datetime.Now(), verbose_name="started"),
                ),
                ("next_poll_at", models.DateTimeField(null=True)),
                ("polling_until", models.DateTimeField(null=True)),
                ("finished_at", models.DateTimeField(null=True, verbose_name="finished")),
            ],
            options={
                "verbose_name_plural": "batches",
                "ordering": ["-started_at", "-id"],
            },
        ),
        migrations.CreateModel(
            name="Burst",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("reports", models.PositiveIntegerField(default=0)),
                ("number", models.CharField(blank=True, default="", max_length=250)),
                ("count", models.PositiveIntegerField(default=0)),
                ("says_over", models.BooleanField(default=False)),
                ("counted_up_to", models.BigIntegerField(default=0)),
                ("latest", models.JSONField(default=list)),
                ("began_at", models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ("last_post_at", models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ("told_at", models.DateTimeField(null=True)),
                ("closed_at", models.DateTimeField(null=True)),
                ("ended_at", models.DateTimeField(null=True)),
            ],
            options={
                "ordering": ["-began_at", "-id"],
            },
        ),
        migrations.CreateModel(
            name="CatchUp",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "mode",
                    models.CharField(
                        choices=[
                            ("recent", "Newest events"),
                            ("whole", "All events at Khoros"),
                            ("compare", "Comparison only"),
                        ],
                        max_length=8,
                        verbose_name="scope",
                    ),
                ),
                (
                    "state",
                    models.CharField(
                        choices=[
                            ("waiting", "Waiting for a worker"),
                            ("running", "Running"),
                            ("done", "Done"),
                            ("failed", "Failed"),
                        ],
                        default="waiting",
                        max_length=8,
                    ),
                ),
                ("requested_by", models.CharField(blank=True, default="", max_length=150)),
                (
                    "started_at",
                    models.DateTimeField(db_default=django.db.models.functions.datetime.Now(), verbose_name="started"),
                ),
                ("progressed_at", models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ("finished_at", models.DateTimeField(null=True, verbose_name="finished")),
                ("pages", models.PositiveIntegerField(default=0)),
                ("read", models.PositiveIntegerField(default=0)),
                ("known", models.PositiveIntegerField(default=0, verbose_name="already known")),
                ("new", models.PositiveIntegerField(default=0)),
                ("unreadable", models.PositiveIntegerField(default=0)),
                ("missing", models.PositiveIntegerField(default=0)),
                ("message", models.TextField(blank=True, default="")),
                ("khoros_uuid", models.CharField(blank=True, default="", max_length=64)),
                ("position", models.PositiveIntegerField(default=0)),
                ("order", models.CharField(blank=True, default="", max_length=8)),
                ("walk_began_at", models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
            ],
            options={
                "verbose_name": "catch-up",
                "ordering": ["-started_at", "-id"],
            },
        ),
        migrations.CreateModel(
            name="Change",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "action",
                    models.CharField(
                        choices=[
                            ("post", "Registered"),
                            ("activate", "Activated"),
                            ("pause", "Paused"),
                            ("retire", "Deleted"),
                            ("pause_other", "Paused (created by someone else)"),
                            ("retire_other", "Deleted (no longer used)"),
                        ],
                        max_length=12,
                    ),
                ),
                ("khoros_uuid", models.CharField(blank=True, default="", max_length=64, verbose_name="ID at Khoros")),
                ("because", models.TextField(blank=True, default="", verbose_name="reason")),
                ("by", models.CharField(blank=True, default="", max_length=150)),
                (
                    "started_at",
                    models.DateTimeField(db_default=django.db.models.functions.datetime.Now(), verbose_name="time"),
                ),
                ("finished_at", models.DateTimeField(null=True)),
                ("is_done", models.BooleanField(default=False)),
                ("message", models.TextField(blank=True, default="", verbose_name="response from Khoros")),
            ],
            options={
                "verbose_name": "change at Khoros",
                "verbose_name_plural": "changes at Khoros",
                "ordering": ["-started_at", "-id"],
            },
        ),
        migrations.CreateModel(
            name="Company",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "name",
                    models.CharField(help_text="Name shown in Casebridge, for example the brand.", max_length=120),
                ),
                (
                    "company_id",
                    models.CharField(
                        help_text="The company's number at Khoros, shown in the address bar of Khoros Marketing.",
                        max_length=40,
                        verbose_name="company ID",
                    ),
                ),
                (
                    "api_version",
                    models.CharField(
                        choices=[("v2", "Version 2"), ("v1", "Version 1 (registration only)")],
                        default="v2",
                        help_text="Version 2 is the usual choice. With version 1, Casebridge can only register subscriptions: it cannot check, pause or delete them, or fetch missed notifications.",
                        max_length=2,
                        verbose_name="Khoros API",
                    ),
                ),
                (
                    "initiatives",
                    models.CharField(
                        blank=True,
                        default="",
                        help_text="Initiative numbers, separated by commas, to offer their content labels too. Usually empty.",
                        max_length=200,
                    ),
                ),
                ("api_token", integrations.models.fields.SecretField(blank=True, default="", editable=False)),
                (
                    "oauth_client_id",
                    models.CharField(
                        blank=True,
                        default="",
                        help_text="For OAuth instead of a pasted token: Khoros' support issues client ID and secret, and allows the ID for your company. After saving, press “Connect to Khoros”.",
                        max_length=200,
                        verbose_name="client ID",
                    ),
                ),
                (
                    "oauth_client_secret",
                    integrations.models.fields.SecretField(blank=True, db_default="", default="", editable=False),
                ),
                ("token_by_consent", models.BooleanField(default=False, editable=False)),
                ("token_entered_at", models.DateTimeField(editable=False, null=True)),
                ("token_expires_at", models.DateTimeField(editable=False, null=True)),
                ("token_owner", models.CharField(blank=True, default="", editable=False, max_length=250)),
                ("companies_seen", models.JSONField(default=list, editable=False)),
                ("listed", models.JSONField(default=list, editable=False)),
                ("listed_at", models.DateTimeField(editable=False, null=True)),
                ("labels", models.JSONField(default=list, editable=False)),
                ("labels_read_at", models.DateTimeField(editable=False, null=True)),
                ("labels_problem", models.TextField(blank=True, default="", editable=False)),
                ("from_environment", models.BooleanField(default=False, editable=False)),
                ("checked_at", models.DateTimeField(editable=False, null=True, verbose_name="last checked")),
                ("warning", models.TextField(blank=True, default="", editable=False)),
                ("created_at", models.DateTimeField(auto_now_add=True)),
            ],
            options={
                "verbose_name_plural": "companies",
                "ordering": ["name"],
            },
        ),
        migrations.CreateModel(
            name="Delivery",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("post_id", models.CharField(max_length=250, verbose_name="post")),
                ("occasion", models.CharField(blank=True, db_default="", default="", max_length=60)),
                ("network", models.CharField(blank=True, max_length=60)),
                ("posted_at", models.DateTimeField(null=True)),
                ("event_at", models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ("case_key", models.CharField(blank=True, db_default="", default="", max_length=300)),
                (
                    "action",
                    models.CharField(
                        choices=[
                            ("create", "New"),
                            ("append", "Comment"),
                            ("follow_up", "Follow-up"),
                            ("update", "Update"),
                        ],
                        db_default="create",
                        default="create",
                        max_length=10,
                    ),
                ),
                ("target_number", models.CharField(blank=True, db_default="", default="", max_length=250)),
                ("is_rendered", models.BooleanField(db_default=True, default=True)),
                ("is_prepared", models.BooleanField(db_default=False, default=False)),
                ("adds_note", models.BooleanField(db_default=False, default=False)),
                ("decision", models.TextField(blank=True, db_default="", default="")),
                ("key_version", models.PositiveIntegerField(default=1)),
                ("key_used_at", models.DateTimeField(null=True)),
                ("is_uncertain", models.BooleanField(default=False)),
                ("unknown_outcomes", models.PositiveSmallIntegerField(db_default=0, default=0)),
                ("look_up_next", models.BooleanField(default=False)),
                ("was_refused", models.BooleanField(default=False)),
                (
                    "state",
                    models.CharField(
                        choices=[
                            ("pending", "Pending"),
                            ("sending", "Sending"),
                            ("delivered", "Delivered"),
                            ("failed", "Failed"),
                            ("cancelled", "Cancelled"),
                            ("held", "Held"),
                            ("waiting", "Waiting for another"),
                        ],
                        default="pending",
                        max_length=10,
                    ),
                ),
                (
                    "priority",
                    models.PositiveSmallIntegerField(
                        choices=[(0, "Live"), (1, "Retry"), (2, "Bulk")], db_default=0, default=0
                    ),
                ),
                ("tries", models.PositiveIntegerField(default=0)),
                ("attempt_count", models.PositiveIntegerField(default=0, verbose_name="attempts")),
                ("next_attempt_at", models.DateTimeField(null=True, verbose_name="next attempt")),
                ("claim", models.UUIDField(null=True)),
                ("claimed_until", models.DateTimeField(null=True)),
                ("last_error", models.TextField(blank=True, default="")),
                ("cause", models.CharField(blank=True, db_default="", default="", max_length=250)),
                ("remedy", models.TextField(blank=True, db_default="", default="")),
                ("remedy_at", models.CharField(blank=True, db_default="", default="", max_length=500)),
                (
                    "result",
                    models.CharField(
                        blank=True,
                        choices=[
                            ("created", "Created"),
                            ("already_there", "Created by an earlier attempt"),
                            ("found", "Found by its external ID"),
                            ("appended", "Added to it"),
                            ("updated", "Updated"),
                            ("counted", "Counted with others"),
                        ],
                        default="",
                        max_length=14,
                    ),
                ),
                ("delivered_at", models.DateTimeField(null=True)),
                ("labelled_again", models.PositiveIntegerField(default=0)),
                ("labelled_again_at", models.DateTimeField(null=True)),
                (
                    "created_at",
                    models.DateTimeField(db_default=django.db.models.functions.datetime.Now(), verbose_name="time"),
                ),
            ],
            options={
                "verbose_name_plural": "deliveries",
                "ordering": ["-created_at", "-id"],
            },
        ),
        migrations.CreateModel(
            name="FloodHold",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("uuid", models.UUIDField(default=uuid.uuid4, unique=True)),
                ("opened_by", models.CharField(max_length=150, verbose_name="started by")),
                (
                    "opened_at",
                    models.DateTimeField(db_default=django.db.models.functions.datetime.Now(), verbose_name="started"),
                ),
                ("ended_by", models.CharField(blank=True, default="", max_length=150)),
                ("ended_at", models.DateTimeField(null=True, verbose_name="ended")),
                ("number", models.CharField(max_length=250, verbose_name="held under")),
                ("url", models.CharField(blank=True, default="", max_length=500)),
            ],
            options={
                "ordering": ["-opened_at", "-id"],
            },
        ),
        migrations.CreateModel(
            name="HourlyVolume",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("hour", models.DateTimeField()),
                ("pushed", models.PositiveIntegerField(default=0)),
                ("caught_up", models.PositiveIntegerField(default=0)),
            ],
        ),
        migrations.CreateModel(
            name="Installation",
            fields=[
                ("id", models.PositiveSmallIntegerField(default=1, primary_key=True, serialize=False)),
                ("uuid", models.UUIDField(default=uuid.uuid4)),
                ("seeded_at", models.DateTimeField(null=True)),
                ("heroku_address_seen_at", models.DateTimeField(null=True)),
                ("worker_seen_at", models.DateTimeField(null=True)),
                ("beat_seen_at", models.DateTimeField(null=True)),
            ],
        ),
        migrations.CreateModel(
            name="Mapping",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("uuid", models.UUIDField(default=uuid.uuid4, editable=False, unique=True)),
                ("name", models.CharField(help_text='For example "CreateCase to the help desk".', max_length=120)),
                (
                    "is_active",
                    models.BooleanField(
                        default=True,
                        help_text="Off: no new deliveries are made. Those that already exist are still sent.",
                        verbose_name="active",
                    ),
                ),
                (
                    "without_first",
                    models.CharField(
                        choices=[("send", "Send it without"), ("skip", "Do not send it")],
                        default="send",
                        help_text="It failed for good, was cancelled, is off, or the post does not match its conditions.",
                        max_length=4,
                        verbose_name="if the first one sends nothing",
                    ),
                ),
                ("conditions", models.JSONField(default=dict, editable=False)),
                ("settings", models.JSONField(default=dict, editable=False)),
                ("warnings", models.JSONField(db_default=[], default=list, editable=False)),
                ("checked_at", models.DateTimeField(editable=False, null=True)),
                ("dropped", models.TextField(blank=True, db_default="", default="", editable=False)),
                ("dropped_at", models.DateTimeField(editable=False, null=True)),
                ("dropped_on", models.BigIntegerField(editable=False, null=True)),
                ("from_environment", models.BooleanField(default=False, editable=False)),
                ("created_at", models.DateTimeField(auto_now_add=True)),
                ("changed_at", models.DateTimeField(auto_now=True)),
            ],
            options={
                "ordering": ["name"],
            },
        ),
        migrations.CreateModel(
            name="Notification",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("event_key", models.UUIDField()),
                (
                    "source",
                    models.CharField(
                        choices=[
                            ("pushed", "Pushed by Khoros"),
                            ("caught_up", "Fetched from Khoros"),
                            ("test", "Test notification"),
                            ("portal", "Casebridge itself"),
                        ],
                        default="pushed",
                        max_length=10,
                    ),
                ),
                (
                    "state",
                    models.CharField(
                        choices=[
                            ("received", "Received"),
                            ("routed", "Matched"),
                            ("unmatched", "Unmatched"),
                            ("unreadable", "Unreadable"),
                            ("missed", "Missed"),
                        ],
                        default="received",
                        max_length=12,
                    ),
                ),
                ("reason", models.TextField(blank=True, default="")),
                ("is_refused", models.BooleanField(db_default=False, default=False)),
                (
                    "received_at",
                    models.DateTimeField(
                        db_default=django.db.models.functions.datetime.Now(), verbose_name="received at"
                    ),
                ),
                ("happened_at", models.DateTimeField(null=True, verbose_name="happened at")),
                ("routed_at", models.DateTimeField(null=True)),
                ("repeats", models.PositiveIntegerField(default=0)),
                ("last_repeat_at", models.DateTimeField(null=True)),
                ("queued_until", models.DateTimeField(null=True)),
            ],
            options={
                "ordering": ["-received_at", "-id"],
            },
        ),
        migrations.CreateModel(
            name="PostContent",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("position", models.PositiveSmallIntegerField(default=0)),
                ("post_id", models.CharField(max_length=250, verbose_name="post")),
                ("search_text", models.TextField(blank=True)),
                ("link", models.CharField(blank=True, max_length=2000)),
                ("outcome", integrations.models.fields.PackedJSONField()),
                (
                    "pairs",
                    django.contrib.postgres.fields.ArrayField(
                        base_field=models.CharField(max_length=2), null=True, size=None
                    ),
                ),
                ("author_key", models.BigIntegerField(null=True)),
            ],
            options={
                "ordering": ["notification_id", "position"],
            },
        ),
        migrations.CreateModel(
            name="Preferences",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("time_zone", models.CharField(default="UTC", max_length=64)),
                ("hidden_columns", models.JSONField(default=dict)),
            ],
            options={
                "verbose_name_plural": "preferences",
            },
        ),
        migrations.CreateModel(
            name="Probe",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("uuid", models.UUIDField(default=uuid.uuid4, unique=True)),
                ("requested_by", models.CharField(blank=True, default="", max_length=150)),
                ("makes_tickets", models.BooleanField(default=False)),
                ("requested_at", models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ("sent_at", models.DateTimeField(null=True)),
                ("finished_at", models.DateTimeField(null=True)),
                ("address", models.CharField(blank=True, default="", max_length=500)),
                ("status", models.PositiveIntegerField(null=True)),
                ("duration_ms", models.PositiveIntegerField(null=True)),
                ("notification_id", models.BigIntegerField(null=True)),
                ("problem", models.TextField(blank=True, default="")),
            ],
            options={
                "verbose_name": "test notification",
                "ordering": ["-requested_at", "-id"],
            },
        ),
        migrations.CreateModel(
            name="RemoteObject",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("number", models.CharField(max_length=250)),
                ("url", models.CharField(blank=True, default="", max_length=500)),
                ("case_key", models.CharField(blank=True, db_default="", default="", max_length=300)),
                ("posted_at", models.DateTimeField(null=True)),
                ("created_at", models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ("last_delivered_at", models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ("status", models.CharField(blank=True, db_default="", default="", max_length=20)),
                ("assignee", models.CharField(blank=True, db_default="", default="", max_length=200)),
                ("changed_at", models.DateTimeField(null=True)),
                ("solved_at", models.DateTimeField(null=True, verbose_name="first solved")),
                ("next_poll_at", models.DateTimeField(null=True)),
            ],
        ),
        migrations.CreateModel(
            name="Requester",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("external_id", models.CharField(max_length=250)),
                ("name", models.CharField(blank=True, default="", max_length=255)),
                ("user_id", models.CharField(blank=True, default="", max_length=40)),
                ("problem", models.TextField(blank=True, default="")),
                ("resolved_at", models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
            ],
        ),
        migrations.CreateModel(
            name="SavedFilter",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("list_name", models.CharField(max_length=40)),
                ("name", models.CharField(max_length=60)),
                ("query", models.CharField(max_length=2000)),
                ("is_shared", models.BooleanField(default=False)),
                ("created_at", models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
            ],
            options={
                "ordering": ["name", "id"],
            },
        ),
        migrations.CreateModel(
            name="Subscription",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("uuid", models.UUIDField(default=uuid.uuid4, editable=False, unique=True)),
                (
                    "event_name",
                    models.CharField(
                        default="stream-item-label-applied",
                        help_text="The event's name at Khoros; for labels, stream-item-label-applied. Choose one or type another.",
                        max_length=100,
                        verbose_name="event",
                    ),
                ),
                (
                    "match",
                    models.CharField(
                        choices=[
                            ("label", "One label (or rule) by name"),
                            ("expression", "A regular expression"),
                            ("everything", "Every event of this type"),
                        ],
                        default="label",
                        help_text="One label is the usual choice. Khoros does not say which label was applied, so each label needs its own subscription.",
                        max_length=12,
                        verbose_name="match",
                    ),
                ),
                (
                    "label",
                    models.CharField(
                        blank=True,
                        help_text="The label exactly as agents see it, for example CreateCase, or the regular expression. Empty only with “Every event of this type”.",
                        max_length=250,
                        verbose_name="label or expression",
                    ),
                ),
                (
                    "is_active",
                    models.BooleanField(
                        default=True,
                        help_text="Off: the subscription is paused at Khoros. Notifications that still arrive are stored but not sent on.",
                        verbose_name="active",
                    ),
                ),
                (
                    "receives_by",
                    models.CharField(
                        choices=[
                            ("both", "Push, and fetch what was missed"),
                            ("push", "Push only"),
                            ("pull", "Fetch only (needs no public address)"),
                        ],
                        default="both",
                        help_text="Khoros does not repeat a push that failed. Fetching reads the same events from Khoros every few minutes and adds those that never arrived.",
                        max_length=5,
                        verbose_name="receive events by",
                    ),
                ),
                (
                    "auto_repair",
                    models.BooleanField(
                        default=True,
                        help_text="When someone changes or deletes the subscription at Khoros, the next check restores it. Off: the difference is shown here until someone presses “Repair at Khoros”.",
                        verbose_name="repair automatically",
                    ),
                ),
                (
                    "silence_alarm",
                    models.CharField(
                        choices=[
                            ("learned", "Learned from the usual volume"),
                            ("hours", "After a fixed number of hours"),
                            ("off", "Never"),
                        ],
                        default="learned",
                        help_text="Learning needs two weeks of history. After that, silence is judged by the usual volume for the hour and day of the week. Until then, the number of hours below applies, if set.",
                        max_length=8,
                        verbose_name="silence alarm",
                    ),
                ),
                (
                    "silence_hours",
                    models.PositiveIntegerField(
                        blank=True,
                        help_text="Raise an alarm after this many quiet hours.",
                        null=True,
                        verbose_name="quiet hours",
                    ),
                ),
                (
                    "ticket_target_minutes",
                    models.PositiveIntegerField(
                        blank=True,
                        help_text="From the customer's post to its delivery. Misses are shown on the overview and raise an alarm. Leave empty for no target.",
                        null=True,
                        verbose_name="delivery target (minutes)",
                    ),
                ),
                (
                    "solve_target_minutes",
                    models.PositiveIntegerField(
                        blank=True,
                        help_text="From the customer's post to the first time the ticket is solved, for example 1440 for one day. Only where the destination reports a status. Leave empty for no target.",
                        null=True,
                        verbose_name="solve target (minutes)",
                    ),
                ),
                ("bearer_token", integrations.models.fields.SecretField(blank=True, default="", editable=False)),
                (
                    "token_changed_at",
                    models.DateTimeField(db_default=django.db.models.functions.datetime.Now(), editable=False),
                ),
                (
                    "previous_bearer_token",
                    integrations.models.fields.SecretField(blank=True, default="", editable=False),
                ),
                ("previous_token_accepted_until", models.DateTimeField(editable=False, null=True)),
                ("deleted_at", models.DateTimeField(editable=False, null=True)),
                ("from_environment", models.BooleanField(default=False, editable=False)),
                (
                    "registration",
                    models.CharField(
                        choices=[
                            ("waiting", "Waiting to be registered"),
                            ("registered", "Registered"),
                            ("refused", "Refused by Khoros"),
                            ("unreachable", "Khoros unreachable"),
                            ("not_possible", "Cannot be registered yet"),
                            ("drifted", "Out of sync"),
                            ("paused", "Paused"),
                            ("retired", "Deleted at Khoros"),
                        ],
                        default="waiting",
                        editable=False,
                        max_length=12,
                    ),
                ),
                (
                    "khoros_uuid",
                    models.CharField(
                        blank=True, default="", editable=False, max_length=64, verbose_name="ID at Khoros"
                    ),
                ),
                (
                    "khoros_status",
                    models.CharField(
                        blank=True, default="", editable=False, max_length=40, verbose_name="status at Khoros"
                    ),
                ),
                ("registered_address", models.CharField(blank=True, default="", editable=False, max_length=500)),
                ("checked_at", models.DateTimeField(editable=False, null=True, verbose_name="last checked")),
                ("next_check_at", models.DateTimeField(default=None, editable=False, null=True)),
                ("checking_until", models.DateTimeField(editable=False, null=True)),
                ("failed_checks", models.PositiveIntegerField(default=0, editable=False)),
                (
                    "khoros_message",
                    models.TextField(blank=True, default="", editable=False, verbose_name="response from Khoros"),
                ),
                ("other_subscriptions", models.JSONField(default=list, editable=False)),
                ("drift", models.JSONField(default=list, editable=False)),
                ("requested_by", models.CharField(blank=True, default="", editable=False, max_length=150)),
                ("posted_as", models.CharField(blank=True, default="", editable=False, max_length=64)),
                ("replaces", models.JSONField(default=list, editable=False)),
                ("replaced_at", models.DateTimeField(editable=False, null=True)),
                ("not_shown", models.CharField(blank=True, default="", editable=False, max_length=64)),
                ("token_shown_as", models.CharField(blank=True, default="", editable=False, max_length=64)),
                ("next_catch_up_at", models.DateTimeField(default=None, editable=False, null=True)),
                ("catching_up_until", models.DateTimeField(editable=False, null=True)),
                ("catch_up_order", models.CharField(blank=True, default="", editable=False, max_length=8)),
                ("catch_up_end", models.PositiveIntegerField(default=0, editable=False)),
                ("read_whole_at", models.DateTimeField(editable=False, null=True)),
                ("failed_catch_ups", models.PositiveIntegerField(default=0, editable=False)),
                ("last_pushed_at", models.DateTimeField(editable=False, null=True, verbose_name="last push")),
                ("last_caught_up_at", models.DateTimeField(editable=False, null=True, verbose_name="last caught up")),
                ("usual_volume", models.JSONField(editable=False, null=True)),
                ("usual_learned_at", models.DateTimeField(editable=False, null=True)),
                ("created_at", models.DateTimeField(auto_now_add=True)),
            ],
            options={
                "ordering": ["company__name", "label", "id"],
            },
        ),
        migrations.CreateModel(
            name="TicketEvent",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("event_id", models.CharField(max_length=120)),
                ("kind", models.CharField(blank=True, default="", max_length=120)),
                ("ticket_number", models.CharField(blank=True, default="", max_length=40, verbose_name="ticket")),
                ("body", models.BinaryField()),
                (
                    "received_at",
                    models.DateTimeField(db_default=django.db.models.functions.datetime.Now(), verbose_name="received"),
                ),
                ("applied_at", models.DateTimeField(null=True)),
                ("repeats", models.PositiveIntegerField(default=0)),
                ("message", models.TextField(blank=True, default="")),
            ],
            options={
                "ordering": ["-received_at", "-id"],
            },
        ),
        migrations.CreateModel(
            name="Turn",
            fields=[
                (
                    "name",
                    models.CharField(
                        choices=[
                            ("sweep", "Sweep"),
                            ("watch", "Alarms and upkeep"),
                            ("ask", "Question to the workers"),
                            ("labels", "Labels of companies"),
                        ],
                        max_length=8,
                        primary_key=True,
                        serialize=False,
                    ),
                ),
                ("taken_at", models.DateTimeField(null=True)),
                ("done_at", models.DateTimeField(null=True)),
            ],
        ),
        migrations.CreateModel(
            name="Wall",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("uuid", models.UUIDField(default=uuid.uuid4, editable=False, unique=True)),
                (
                    "name",
                    models.CharField(
                        help_text="Name shown in Casebridge, for example “Customer love, lobby screen”.", max_length=120
                    ),
                ),
                (
                    "title",
                    models.CharField(
                        blank=True,
                        default="",
                        help_text="Heading on the screen and name of the feed. Leave empty for a screen without a heading.",
                        max_length=80,
                    ),
                ),
                (
                    "needs_approval",
                    models.BooleanField(
                        default=False,
                        help_text="On: each new post waits until someone presses “Show”. Off: it is shown at once.",
                        verbose_name="posts wait for approval",
                    ),
                ),
                (
                    "order",
                    models.CharField(
                        choices=[("shown", "What came to the wall last"), ("posted", "What was written last")],
                        default="shown",
                        max_length=6,
                        verbose_name="sort order",
                    ),
                ),
                (
                    "expires_hours",
                    models.PositiveIntegerField(
                        blank=True,
                        help_text="A post leaves the wall after this many hours; pinned ones stay. Leave empty to keep them for as long as content is kept.",
                        null=True,
                        verbose_name="remove after (hours)",
                    ),
                ),
                (
                    "theme",
                    models.CharField(
                        choices=[("screen", "As the screen prefers"), ("dark", "Dark"), ("light", "Light")],
                        default="screen",
                        max_length=6,
                        verbose_name="colours",
                    ),
                ),
                (
                    "frame_origins",
                    models.TextField(
                        blank=True,
                        default="",
                        help_text="Addresses of sites that may show the wall in a frame, one per line, like https://intranet.example.com. Leave empty to allow none.",
                        verbose_name="sites that may embed it",
                    ),
                ),
                ("token", integrations.models.fields.SecretField(blank=True, default="", editable=False)),
                ("token_hash", models.CharField(editable=False, max_length=64, null=True, unique=True)),
                ("created_at", models.DateTimeField(auto_now_add=True)),
                ("changed_at", models.DateTimeField(auto_now=True)),
            ],
            options={
                "ordering": ["name"],
            },
        ),
        migrations.CreateModel(
            name="WallPost",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("key", models.CharField(editable=False, max_length=64)),
                ("post_id", models.CharField(blank=True, editable=False, max_length=250, verbose_name="post")),
                ("external_id", models.CharField(blank=True, editable=False, max_length=250)),
                ("author", models.CharField(blank=True, editable=False, max_length=200)),
                ("handle", models.CharField(blank=True, editable=False, max_length=100)),
                ("network", models.CharField(blank=True, editable=False, max_length=60)),
                ("text", models.TextField(blank=True, editable=False)),
                ("link", models.CharField(blank=True, editable=False, max_length=2000)),
                ("picture", models.CharField(blank=True, editable=False, max_length=2000)),
                ("posted_at", models.DateTimeField(editable=False, verbose_name="written")),
                (
                    "state",
                    models.CharField(
                        choices=[("waiting", "Waits for approval"), ("shown", "Shown"), ("hidden", "Hidden")],
                        default="waiting",
                        editable=False,
                        max_length=7,
                    ),
                ),
                (
                    "place",
                    models.PositiveIntegerField(
                        blank=True,
                        help_text="1 comes first. Empty: not pinned.",
                        null=True,
                        verbose_name="pinned place",
                    ),
                ),
                ("is_test", models.BooleanField(default=False, editable=False)),
                (
                    "created_at",
                    models.DateTimeField(
                        db_default=django.db.models.functions.datetime.Now(), editable=False, verbose_name="added"
                    ),
                ),
                ("shown_at", models.DateTimeField(editable=False, null=True, verbose_name="shown since")),
                (
                    "changed_at",
                    models.DateTimeField(db_default=django.db.models.functions.datetime.Now(), editable=False),
                ),
                ("decided_by", models.CharField(blank=True, default="", editable=False, max_length=150)),
            ],
            options={
                "verbose_name": "post on a wall",
                "verbose_name_plural": "posts on walls",
                "ordering": ["-created_at", "-id"],
            },
        ),
        migrations.CreateModel(
            name="AccountSchema",
            fields=[
                (
                    "connection",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.CASCADE,
                        primary_key=True,
                        related_name="schema",
                        serialize=False,
                        to="integrations.connection",
                    ),
                ),
                ("lists", models.JSONField(default=dict)),
                ("problems", models.JSONField(default=dict)),
                ("read_at", models.DateTimeField(null=True)),
                ("next_read_at", models.DateTimeField(null=True)),
                ("reading_until", models.DateTimeField(null=True)),
            ],
        ),
        migrations.AddConstraint(
            model_name="connection",
            constraint=models.CheckConstraint(
                condition=models.Q(("paused_until__isnull", True), ("paused_at__isnull", False), _connector="OR"),
                name="connection_pause_has_a_beginning",
            ),
        ),
        migrations.AddConstraint(
            model_name="connection",
            constraint=models.UniqueConstraint(
                condition=models.Q(("from_environment", True)),
                fields=("from_environment",),
                name="connection_from_environment_once",
            ),
        ),
        migrations.AddConstraint(
            model_name="connection",
            constraint=models.CheckConstraint(
                condition=models.Q(("limit_share__gte", 1), ("limit_share__lte", 100)),
                name="connection_share_is_a_percentage",
            ),
        ),
        migrations.AddConstraint(
            model_name="connection",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("breaker_opened_at__isnull", True), ("breaker_probe_at__isnull", False), _connector="OR"
                ),
                name="connection_open_breaker_has_its_probe",
            ),
        ),
        migrations.AddField(
            model_name="alarm",
            name="connection",
            field=models.ForeignKey(
                null=True,
                on_delete=django.db.models.deletion.CASCADE,
                related_name="alarms",
                to="integrations.connection",
            ),
        ),
        migrations.AddField(
            model_name="batch",
            name="connection",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.PROTECT, related_name="batches", to="integrations.connection"
            ),
        ),
        migrations.AddField(
            model_name="burst",
            name="connection",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.PROTECT, related_name="+", to="integrations.connection"
            ),
        ),
        migrations.AddConstraint(
            model_name="company",
            constraint=models.UniqueConstraint(fields=("company_id",), name="company_known_once"),
        ),
        migrations.AddConstraint(
            model_name="company",
            constraint=models.UniqueConstraint(
                condition=models.Q(("from_environment", True)),
                fields=("from_environment",),
                name="company_from_environment_once",
            ),
        ),
        migrations.AddField(
            model_name="change",
            name="company",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.CASCADE, related_name="changes", to="integrations.company"
            ),
        ),
        migrations.AddField(
            model_name="alarm",
            name="company",
            field=models.ForeignKey(
                null=True, on_delete=django.db.models.deletion.CASCADE, related_name="alarms", to="integrations.company"
            ),
        ),
        migrations.CreateModel(
            name="DeliveryContent",
            fields=[
                (
                    "delivery",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.CASCADE,
                        primary_key=True,
                        related_name="content",
                        serialize=False,
                        to="integrations.delivery",
                    ),
                ),
                ("external_id", models.CharField(max_length=250)),
                ("request", integrations.models.fields.PackedTextField()),
                ("remarks", models.TextField(blank=True, db_default="", default="")),
            ],
        ),
        migrations.AddField(
            model_name="delivery",
            name="batch",
            field=models.ForeignKey(
                db_index=False,
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="deliveries",
                to="integrations.batch",
            ),
        ),
        migrations.AddField(
            model_name="delivery",
            name="burst",
            field=models.ForeignKey(
                db_index=False,
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="posts",
                to="integrations.burst",
            ),
        ),
        migrations.AddField(
            model_name="delivery",
            name="connection",
            field=models.ForeignKey(
                db_index=False,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="deliveries",
                to="integrations.connection",
            ),
        ),
        migrations.AddField(
            model_name="delivery",
            name="follows",
            field=models.ForeignKey(
                db_index=False,
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="followers",
                to="integrations.delivery",
            ),
        ),
        migrations.AddField(
            model_name="burst",
            name="report",
            field=models.ForeignKey(
                null=True, on_delete=django.db.models.deletion.PROTECT, related_name="+", to="integrations.delivery"
            ),
        ),
        migrations.AddField(
            model_name="attempt",
            name="delivery",
            field=models.ForeignKey(
                db_index=False,
                on_delete=django.db.models.deletion.CASCADE,
                related_name="attempts",
                to="integrations.delivery",
            ),
        ),
        migrations.AddField(
            model_name="delivery",
            name="flood_hold",
            field=models.ForeignKey(
                db_index=False,
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="deliveries",
                to="integrations.floodhold",
            ),
        ),
        migrations.AddConstraint(
            model_name="installation",
            constraint=models.CheckConstraint(condition=models.Q(("id", 1)), name="installation_is_one_row"),
        ),
        migrations.AddField(
            model_name="mapping",
            name="connection",
            field=models.ForeignKey(
                help_text="Where the posts go.",
                on_delete=django.db.models.deletion.PROTECT,
                related_name="mappings",
                to="integrations.connection",
            ),
        ),
        migrations.AddField(
            model_name="mapping",
            name="follows",
            field=models.ForeignKey(
                blank=True,
                help_text="Another mapping of the same subscription: this one waits until that one is delivered, and can name it with {{ made_number }}, {{ made_link }} and {{ made_status }}. Leave empty to send at once.",
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="followers",
                to="integrations.mapping",
                verbose_name="sent after",
            ),
        ),
        migrations.AddField(
            model_name="floodhold",
            name="mapping",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.PROTECT, related_name="flood_holds", to="integrations.mapping"
            ),
        ),
        migrations.AddField(
            model_name="delivery",
            name="mapping",
            field=models.ForeignKey(
                db_index=False,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="deliveries",
                to="integrations.mapping",
            ),
        ),
        migrations.AddField(
            model_name="burst",
            name="mapping",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.PROTECT, related_name="bursts", to="integrations.mapping"
            ),
        ),
        migrations.AddField(
            model_name="alarm",
            name="mapping",
            field=models.ForeignKey(
                null=True, on_delete=django.db.models.deletion.CASCADE, related_name="alarms", to="integrations.mapping"
            ),
        ),
        migrations.CreateModel(
            name="NotificationContent",
            fields=[
                (
                    "notification",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.CASCADE,
                        primary_key=True,
                        related_name="content",
                        serialize=False,
                        to="integrations.notification",
                    ),
                ),
                ("event_key", models.CharField(max_length=140)),
                ("event_name", models.CharField(blank=True, default="", max_length=100, verbose_name="event")),
                ("body", integrations.models.fields.PackedField()),
                ("headers", integrations.models.fields.PackedJSONField(empty=dict)),
            ],
        ),
        migrations.AddField(
            model_name="delivery",
            name="notification",
            field=models.ForeignKey(
                db_index=False,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="deliveries",
                to="integrations.notification",
            ),
        ),
        migrations.AddField(
            model_name="postcontent",
            name="notification",
            field=models.ForeignKey(
                db_index=False,
                on_delete=django.db.models.deletion.CASCADE,
                related_name="posts",
                to="integrations.notification",
            ),
        ),
        migrations.AddField(
            model_name="preferences",
            name="user",
            field=models.OneToOneField(
                on_delete=django.db.models.deletion.CASCADE, related_name="preferences", to=settings.AUTH_USER_MODEL
            ),
        ),
        migrations.AddField(
            model_name="remoteobject",
            name="connection",
            field=models.ForeignKey(
                db_index=False,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="remote_objects",
                to="integrations.connection",
            ),
        ),
        migrations.AddField(
            model_name="remoteobject",
            name="mapping",
            field=models.ForeignKey(
                db_index=False,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="remote_objects",
                to="integrations.mapping",
            ),
        ),
        migrations.AddField(
            model_name="delivery",
            name="remote_object",
            field=models.ForeignKey(
                db_index=False,
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="deliveries",
                to="integrations.remoteobject",
            ),
        ),
        migrations.AddField(
            model_name="requester",
            name="connection",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.CASCADE, related_name="requesters", to="integrations.connection"
            ),
        ),
        migrations.AddField(
            model_name="savedfilter",
            name="owner",
            field=models.ForeignKey(
                null=True,
                on_delete=django.db.models.deletion.SET_NULL,
                related_name="saved_filters",
                to=settings.AUTH_USER_MODEL,
            ),
        ),
        migrations.AddField(
            model_name="subscription",
            name="company",
            field=models.ForeignKey(
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="subscriptions",
                to="integrations.company",
            ),
        ),
        migrations.AddField(
            model_name="probe",
            name="subscription",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.CASCADE, related_name="probes", to="integrations.subscription"
            ),
        ),
        migrations.AddField(
            model_name="notification",
            name="subscription",
            field=models.ForeignKey(
                db_index=False,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="notifications",
                to="integrations.subscription",
            ),
        ),
        migrations.AddField(
            model_name="mapping",
            name="subscription",
            field=models.ForeignKey(
                help_text="The subscription whose posts this mapping handles.",
                on_delete=django.db.models.deletion.PROTECT,
                related_name="mappings",
                to="integrations.subscription",
            ),
        ),
        migrations.AddField(
            model_name="hourlyvolume",
            name="subscription",
            field=models.ForeignKey(
                db_index=False,
                on_delete=django.db.models.deletion.CASCADE,
                related_name="volumes",
                to="integrations.subscription",
            ),
        ),
        migrations.AddField(
            model_name="change",
            name="subscription",
            field=models.ForeignKey(
                null=True,
                on_delete=django.db.models.deletion.CASCADE,
                related_name="changes",
                to="integrations.subscription",
            ),
        ),
        migrations.AddField(
            model_name="catchup",
            name="subscription",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.CASCADE, related_name="catch_ups", to="integrations.subscription"
            ),
        ),
        migrations.AddField(
            model_name="alarm",
            name="subscription",
            field=models.ForeignKey(
                null=True,
                on_delete=django.db.models.deletion.CASCADE,
                related_name="alarms",
                to="integrations.subscription",
            ),
        ),
        migrations.AddField(
            model_name="ticketevent",
            name="connection",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.CASCADE, related_name="ticket_events", to="integrations.connection"
            ),
        ),
        migrations.AddField(
            model_name="wall",
            name="connection",
            field=models.OneToOneField(
                editable=False,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="wall",
                to="integrations.connection",
            ),
        ),
        migrations.AddField(
            model_name="wallpost",
            name="wall",
            field=models.ForeignKey(
                db_index=False,
                on_delete=django.db.models.deletion.CASCADE,
                related_name="posts",
                to="integrations.wall",
            ),
        ),
        migrations.AddIndex(
            model_name="accountschema",
            index=models.Index(
                condition=models.Q(("next_read_at__isnull", False)), fields=["next_read_at"], name="schema_read_due"
            ),
        ),
        migrations.AddIndex(
            model_name="batch",
            index=models.Index(
                condition=models.Q(("state__in", ["sending", "running"])),
                fields=["next_poll_at"],
                name="batch_under_way",
            ),
        ),
        migrations.AddConstraint(
            model_name="batch",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("state", "running"), _negated=True),
                    models.Q(("number", ""), _negated=True),
                    _connector="OR",
                ),
                name="batch_running_has_its_number",
            ),
        ),
        migrations.AddConstraint(
            model_name="batch",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("state__in", ["done", "unknown", "refused"]), _negated=True),
                    ("finished_at__isnull", False),
                    _connector="OR",
                ),
                name="batch_ended_has_an_end",
            ),
        ),
        migrations.AddField(
            model_name="deliverycontent",
            name="post",
            field=models.ForeignKey(
                null=True,
                on_delete=django.db.models.deletion.SET_NULL,
                related_name="deliveries",
                to="integrations.postcontent",
            ),
        ),
        migrations.AddIndex(
            model_name="attempt",
            index=models.Index(fields=["-started_at", "-id"], name="attempt_newest"),
        ),
        migrations.AddIndex(
            model_name="attempt",
            index=models.Index(
                condition=models.Q(("outcome", "delivered"), _negated=True),
                fields=["outcome", "-started_at", "-id"],
                name="attempt_outcome_newest",
            ),
        ),
        migrations.AddConstraint(
            model_name="attempt",
            constraint=models.UniqueConstraint(fields=("delivery", "number"), name="attempt_numbered_once"),
        ),
        migrations.AddConstraint(
            model_name="attempt",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("finished_at__isnull", True), models.Q(("outcome", ""), _negated=True), _connector="OR"
                ),
                name="attempt_finished_has_an_outcome",
            ),
        ),
        migrations.AddConstraint(
            model_name="floodhold",
            constraint=models.UniqueConstraint(
                condition=models.Q(("ended_at__isnull", True)),
                fields=("mapping",),
                name="flood_hold_open_once_per_mapping",
            ),
        ),
        migrations.AddConstraint(
            model_name="burst",
            constraint=models.UniqueConstraint(
                condition=models.Q(("closed_at__isnull", True)), fields=("mapping",), name="burst_open_once_per_mapping"
            ),
        ),
        migrations.AddConstraint(
            model_name="burst",
            constraint=models.CheckConstraint(
                condition=models.Q(("ended_at__isnull", True), ("closed_at__isnull", False), _connector="OR"),
                name="burst_ended_is_closed",
            ),
        ),
        migrations.AddIndex(
            model_name="postcontent",
            index=models.Index(
                condition=models.Q(("author_key__isnull", False)), fields=["author_key"], name="post_content_of_author"
            ),
        ),
        migrations.AddIndex(
            model_name="postcontent",
            index=django.contrib.postgres.indexes.HashIndex(fields=["post_id"], name="post_content_post_id"),
        ),
        migrations.AddIndex(
            model_name="postcontent",
            index=django.contrib.postgres.indexes.HashIndex(fields=["link"], name="post_content_link"),
        ),
        migrations.AddIndex(
            model_name="postcontent",
            index=django.contrib.postgres.indexes.GinIndex(fields=["pairs"], name="post_content_pairs"),
        ),
        migrations.AddIndex(
            model_name="postcontent",
            index=django.contrib.postgres.indexes.GinIndex(
                django.contrib.postgres.indexes.OpClass(
                    django.db.models.functions.text.Upper("search_text"), "gin_trgm_ops"
                ),
                name="post_content_search",
            ),
        ),
        migrations.AddConstraint(
            model_name="postcontent",
            constraint=models.UniqueConstraint(fields=("notification", "position"), name="post_content_numbered_once"),
        ),
        migrations.AddIndex(
            model_name="remoteobject",
            index=models.Index(
                condition=models.Q(("case_key", ""), _negated=True),
                fields=["mapping", "case_key", "-id"],
                name="remote_object_of_case",
            ),
        ),
        migrations.AddIndex(
            model_name="remoteobject",
            index=models.Index(
                condition=models.Q(("status", ""), _negated=True),
                fields=["status", "-id"],
                name="remote_object_by_status",
            ),
        ),
        migrations.AddIndex(
            model_name="remoteobject",
            index=models.Index(
                condition=models.Q(("solved_at__isnull", True)),
                fields=["mapping", "posted_at"],
                name="remote_object_not_solved",
            ),
        ),
        migrations.AddIndex(
            model_name="remoteobject",
            index=models.Index(
                condition=models.Q(("next_poll_at__isnull", False)),
                fields=["connection", "next_poll_at"],
                name="remote_object_to_poll",
            ),
        ),
        migrations.AddConstraint(
            model_name="remoteobject",
            constraint=models.UniqueConstraint(fields=("connection", "number"), name="remote_object_known_once"),
        ),
        migrations.AddConstraint(
            model_name="remoteobject",
            constraint=models.CheckConstraint(
                condition=models.Q(("number", ""), _negated=True), name="remote_object_has_its_number"
            ),
        ),
        migrations.AddIndex(
            model_name="delivery",
            index=models.Index(fields=["-created_at", "-id"], name="delivery_newest"),
        ),
        migrations.AddIndex(
            model_name="delivery",
            index=models.Index(
                condition=models.Q(("state", "delivered"), _negated=True),
                fields=["state", "-created_at", "-id"],
                name="delivery_state_newest",
            ),
        ),
        migrations.AddIndex(
            model_name="delivery",
            index=models.Index(fields=["mapping", "-created_at", "-id"], name="delivery_mapping_newest"),
        ),
        migrations.AddIndex(
            model_name="delivery",
            index=models.Index(fields=["connection", "-created_at", "-id"], name="delivery_connection_newest"),
        ),
        migrations.AddIndex(
            model_name="delivery",
            index=models.Index(fields=["network", "-created_at", "-id"], name="delivery_network_newest"),
        ),
        migrations.AddIndex(
            model_name="delivery",
            index=models.Index(
                condition=models.Q(("remote_object__isnull", False)),
                fields=["remote_object"],
                name="delivery_of_remote_object",
            ),
        ),
        migrations.AddIndex(
            model_name="delivery",
            index=models.Index(
                condition=models.Q(("state", "pending")),
                fields=["connection", "priority", "next_attempt_at", "id"],
                name="delivery_due",
            ),
        ),
        migrations.AddIndex(
            model_name="delivery",
            index=models.Index(
                condition=models.Q(("state", "sending")), fields=["connection", "claimed_until"], name="delivery_lease"
            ),
        ),
        migrations.AddIndex(
            model_name="delivery",
            index=models.Index(
                condition=models.Q(("case_key", ""), _negated=True),
                fields=["mapping", "case_key", "-id"],
                name="delivery_case",
            ),
        ),
        migrations.AddIndex(
            model_name="delivery",
            index=models.Index(
                condition=models.Q(("flood_hold__isnull", False)), fields=["flood_hold"], name="delivery_of_flood_hold"
            ),
        ),
        migrations.AddIndex(
            model_name="delivery",
            index=models.Index(
                condition=models.Q(("burst__isnull", False)), fields=["burst", "id"], name="delivery_of_burst"
            ),
        ),
        migrations.AddIndex(
            model_name="delivery",
            index=models.Index(
                condition=models.Q(("follows__isnull", False)), fields=["follows"], name="delivery_that_follows"
            ),
        ),
        migrations.AddIndex(
            model_name="delivery",
            index=models.Index(
                condition=models.Q(("state", "failed")), fields=["cause", "mapping"], name="delivery_failed_by_cause"
            ),
        ),
        migrations.AddIndex(
            model_name="delivery",
            index=models.Index(
                condition=models.Q(("state__in", ["pending", "sending", "failed", "held", "waiting"])),
                fields=["posted_at"],
                name="delivery_not_delivered",
            ),
        ),
        migrations.AddConstraint(
            model_name="delivery",
            constraint=models.UniqueConstraint(
                fields=("mapping", "post_id", "occasion"), name="delivery_once_per_mapping_post_and_occasion"
            ),
        ),
        migrations.AddConstraint(
            model_name="delivery",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("state", "delivered"), _negated=True),
                    models.Q(("remote_object__isnull", False), ("delivered_at__isnull", False)),
                    _connector="OR",
                ),
                name="delivery_delivered_has_become_something",
            ),
        ),
        migrations.AddConstraint(
            model_name="delivery",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("state", "pending"), _negated=True), ("next_attempt_at__isnull", False), _connector="OR"
                ),
                name="delivery_pending_has_a_next_try",
            ),
        ),
        migrations.AddConstraint(
            model_name="delivery",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("state", "sending"), _negated=True),
                    models.Q(("claim__isnull", False), ("claimed_until__isnull", False)),
                    _connector="OR",
                ),
                name="delivery_sending_has_a_lease",
            ),
        ),
        migrations.AddConstraint(
            model_name="delivery",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("state", "failed"), _negated=True),
                    models.Q(("last_error", ""), _negated=True),
                    _connector="OR",
                ),
                name="delivery_failed_says_why",
            ),
        ),
        migrations.AddConstraint(
            model_name="delivery",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("state__in", ["pending", "sending"]), _negated=True),
                    ("is_rendered", True),
                    _connector="OR",
                ),
                name="delivery_to_be_sent_has_its_request",
            ),
        ),
        migrations.AddConstraint(
            model_name="delivery",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("state", "held"), _negated=True), ("flood_hold__isnull", False), _connector="OR"
                ),
                name="delivery_held_has_its_hold",
            ),
        ),
        migrations.AddConstraint(
            model_name="delivery",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("state", "waiting"), _negated=True),
                    ("follows__isnull", False),
                    ("burst__isnull", False),
                    _connector="OR",
                ),
                name="delivery_waits_for_something_by_name",
            ),
        ),
        migrations.AddConstraint(
            model_name="delivery",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("action", "create"), models.Q(("target_number", ""), _negated=True), _connector="OR"
                ),
                name="delivery_to_an_existing_thing_names_it",
            ),
        ),
        migrations.AddConstraint(
            model_name="requester",
            constraint=models.UniqueConstraint(fields=("connection", "external_id"), name="requester_known_once"),
        ),
        migrations.AddConstraint(
            model_name="requester",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("user_id", ""), _negated=True), models.Q(("problem", ""), _negated=True), _connector="OR"
                ),
                name="requester_is_known_or_says_why",
            ),
        ),
        migrations.AddConstraint(
            model_name="savedfilter",
            constraint=models.UniqueConstraint(fields=("owner", "list_name", "name"), name="saved_filter_named_once"),
        ),
        migrations.AddConstraint(
            model_name="savedfilter",
            constraint=models.CheckConstraint(
                condition=models.Q(models.Q(("name", ""), _negated=True), models.Q(("query", ""), _negated=True)),
                name="saved_filter_has_name_and_query",
            ),
        ),
        migrations.AddIndex(
            model_name="subscription",
            index=models.Index(
                condition=models.Q(("next_check_at__isnull", False)),
                fields=["next_check_at"],
                name="subscription_check_due",
            ),
        ),
        migrations.AddIndex(
            model_name="subscription",
            index=models.Index(
                condition=models.Q(("next_catch_up_at__isnull", False)),
                fields=["next_catch_up_at"],
                name="subscription_catch_up_due",
            ),
        ),
        migrations.AddConstraint(
            model_name="subscription",
            constraint=models.CheckConstraint(
                condition=models.Q(("match", "everything"), models.Q(("label", ""), _negated=True), _connector="OR"),
                name="subscription_names_what_it_listens_to",
            ),
        ),
        migrations.AddConstraint(
            model_name="subscription",
            constraint=models.UniqueConstraint(
                condition=models.Q(("from_environment", True)),
                fields=("from_environment",),
                name="subscription_from_environment_once",
            ),
        ),
        migrations.AddConstraint(
            model_name="subscription",
            constraint=models.UniqueConstraint(
                models.F("company"),
                models.F("event_name"),
                models.F("match"),
                django.db.models.functions.text.Lower("label"),
                condition=models.Q(("deleted_at__isnull", True)),
                name="subscription_once_for_what_it_listens_to",
                violation_error_message="There is a subscription to this already.",
            ),
        ),
        migrations.AddConstraint(
            model_name="subscription",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("silence_alarm", "hours"), _negated=True), ("silence_hours__gte", 1), _connector="OR"
                ),
                name="subscription_silence_has_its_hours",
            ),
        ),
        migrations.AddConstraint(
            model_name="subscription",
            constraint=models.CheckConstraint(
                condition=models.Q(("deleted_at__isnull", True), ("is_active", False), _connector="OR"),
                name="subscription_deleted_receives_nothing",
            ),
        ),
        migrations.AddConstraint(
            model_name="subscription",
            constraint=models.UniqueConstraint(
                condition=models.Q(("company__isnull", True)),
                fields=("event_name",),
                name="subscription_of_the_portal_once",
            ),
        ),
        migrations.AddConstraint(
            model_name="subscription",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("company__isnull", False),
                    models.Q(("next_catch_up_at__isnull", True), ("next_check_at__isnull", True)),
                    _connector="OR",
                ),
                name="subscription_of_the_portal_never_asks_khoros",
            ),
        ),
        migrations.AddIndex(
            model_name="probe",
            index=models.Index(fields=["subscription", "-requested_at"], name="probe_by_subscription"),
        ),
        migrations.AddIndex(
            model_name="notification",
            index=models.Index(fields=["-received_at", "-id"], name="notification_newest"),
        ),
        migrations.AddIndex(
            model_name="notification",
            index=models.Index(
                condition=models.Q(("state", "routed"), _negated=True),
                fields=["state", "-received_at", "-id"],
                name="notification_state_newest",
            ),
        ),
        migrations.AddIndex(
            model_name="notification",
            index=models.Index(fields=["subscription", "-received_at", "-id"], name="notification_by_subscription"),
        ),
        migrations.AddIndex(
            model_name="notification",
            index=models.Index(
                condition=models.Q(("state", "received")), fields=["received_at"], name="notification_to_route"
            ),
        ),
        migrations.AddConstraint(
            model_name="notification",
            constraint=models.UniqueConstraint(fields=("subscription", "event_key"), name="notification_stored_once"),
        ),
        migrations.AddConstraint(
            model_name="notification",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("state__in", ["unmatched", "unreadable", "missed"]), _negated=True),
                    models.Q(("reason", ""), _negated=True),
                    _connector="OR",
                ),
                name="notification_without_tickets_says_why",
            ),
        ),
        migrations.AddIndex(
            model_name="mapping",
            index=models.Index(
                condition=models.Q(("is_active", True)), fields=["subscription"], name="mapping_active_by_subscription"
            ),
        ),
        migrations.AddConstraint(
            model_name="mapping",
            constraint=models.UniqueConstraint(
                condition=models.Q(("from_environment", True)),
                fields=("from_environment",),
                name="mapping_from_environment_once",
            ),
        ),
        migrations.AddConstraint(
            model_name="mapping",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("follows__isnull", True), models.Q(("follows", models.F("id")), _negated=True), _connector="OR"
                ),
                name="mapping_follows_another",
            ),
        ),
        migrations.AddConstraint(
            model_name="hourlyvolume",
            constraint=models.UniqueConstraint(fields=("subscription", "hour"), name="volume_counted_once_an_hour"),
        ),
        migrations.AddIndex(
            model_name="change",
            index=models.Index(fields=["subscription", "-started_at"], name="change_by_subscription"),
        ),
        migrations.AddConstraint(
            model_name="change",
            constraint=models.CheckConstraint(
                condition=models.Q(("is_done", False), ("finished_at__isnull", False), _connector="OR"),
                name="change_done_has_an_end",
            ),
        ),
        migrations.AddIndex(
            model_name="catchup",
            index=models.Index(fields=["subscription", "-started_at"], name="catch_up_by_subscription"),
        ),
        migrations.AddConstraint(
            model_name="catchup",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("state__in", ["done", "failed"]), _negated=True),
                    ("finished_at__isnull", False),
                    _connector="OR",
                ),
                name="catch_up_ended_has_an_end",
            ),
        ),
        migrations.AddConstraint(
            model_name="catchup",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("state", "failed"), _negated=True),
                    models.Q(("message", ""), _negated=True),
                    _connector="OR",
                ),
                name="catch_up_failed_says_why",
            ),
        ),
        migrations.AddConstraint(
            model_name="alarm",
            constraint=models.UniqueConstraint(
                condition=models.Q(("ended_at__isnull", True), ("subscription__isnull", False)),
                fields=("kind", "subscription"),
                name="alarm_open_once_per_subscription",
            ),
        ),
        migrations.AddConstraint(
            model_name="alarm",
            constraint=models.UniqueConstraint(
                condition=models.Q(("ended_at__isnull", True), ("company__isnull", False)),
                fields=("kind", "company"),
                name="alarm_open_once_per_company",
            ),
        ),
        migrations.AddConstraint(
            model_name="alarm",
            constraint=models.UniqueConstraint(
                condition=models.Q(("ended_at__isnull", True), ("connection__isnull", False)),
                fields=("kind", "connection"),
                name="alarm_open_once_per_connection",
            ),
        ),
        migrations.AddConstraint(
            model_name="alarm",
            constraint=models.UniqueConstraint(
                condition=models.Q(("ended_at__isnull", True), ("mapping__isnull", False)),
                fields=("kind", "mapping", "cause"),
                name="alarm_open_once_per_mapping",
            ),
        ),
        migrations.AddConstraint(
            model_name="alarm",
            constraint=models.UniqueConstraint(
                condition=models.Q(
                    ("company", None),
                    ("connection", None),
                    ("ended_at__isnull", True),
                    ("mapping", None),
                    ("subscription", None),
                ),
                fields=("kind",),
                name="alarm_open_once_per_installation",
            ),
        ),
        migrations.AddConstraint(
            model_name="alarm",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(
                        ("company__isnull", True),
                        ("connection__isnull", True),
                        ("mapping__isnull", True),
                        ("subscription__isnull", False),
                    ),
                    models.Q(
                        ("company__isnull", False),
                        ("connection__isnull", True),
                        ("mapping__isnull", True),
                        ("subscription__isnull", True),
                    ),
                    models.Q(
                        ("company__isnull", True),
                        ("connection__isnull", False),
                        ("mapping__isnull", True),
                        ("subscription__isnull", True),
                    ),
                    models.Q(
                        ("company__isnull", True),
                        ("connection__isnull", True),
                        ("mapping__isnull", False),
                        ("subscription__isnull", True),
                    ),
                    models.Q(
                        ("company", None),
                        ("connection", None),
                        ("kind__in", ["worker", "beat", "sweep"]),
                        ("mapping", None),
                        ("subscription", None),
                    ),
                    _connector="OR",
                ),
                name="alarm_is_about_one_of_four_or_the_installation",
            ),
        ),
        migrations.AddIndex(
            model_name="ticketevent",
            index=models.Index(
                condition=models.Q(("applied_at__isnull", True)), fields=["received_at"], name="ticket_event_to_apply"
            ),
        ),
        migrations.AddConstraint(
            model_name="ticketevent",
            constraint=models.UniqueConstraint(fields=("connection", "event_id"), name="ticket_event_stored_once"),
        ),
        migrations.AddConstraint(
            model_name="wall",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("expires_hours__isnull", True),
                    models.Q(("expires_hours__gte", 1), ("expires_hours__lte", 87600)),
                    _connector="OR",
                ),
                name="wall_expires_after_hours",
            ),
        ),
        migrations.AddConstraint(
            model_name="wall",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("token", ""), ("token_hash__isnull", True)),
                    models.Q(models.Q(("token", ""), _negated=True), ("token_hash__isnull", False)),
                    _connector="OR",
                ),
                name="wall_address_is_found_or_there_is_none",
            ),
        ),
        migrations.AddIndex(
            model_name="wallpost",
            index=models.Index(
                condition=models.Q(("state", "shown")), fields=["wall", "-shown_at", "-id"], name="wall_post_shown"
            ),
        ),
        migrations.AddIndex(
            model_name="wallpost",
            index=models.Index(
                condition=models.Q(("state", "shown")), fields=["wall", "-posted_at", "-id"], name="wall_post_written"
            ),
        ),
        migrations.AddIndex(
            model_name="wallpost",
            index=models.Index(
                condition=models.Q(("place__isnull", False)), fields=["wall", "place", "id"], name="wall_post_pinned"
            ),
        ),
        migrations.AddIndex(
            model_name="wallpost",
            index=models.Index(fields=["wall", "-changed_at"], name="wall_post_changed"),
        ),
        migrations.AddIndex(
            model_name="wallpost",
            index=models.Index(
                condition=models.Q(("state", "waiting")), fields=["wall", "id"], name="wall_post_waiting"
            ),
        ),
        migrations.AddIndex(
            model_name="wallpost",
            index=models.Index(fields=["-created_at", "-id"], name="wall_post_newest"),
        ),
        migrations.AddConstraint(
            model_name="wallpost",
            constraint=models.UniqueConstraint(fields=("wall", "key"), name="wall_has_a_post_once"),
        ),
        migrations.AddConstraint(
            model_name="wallpost",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("state", "shown"), _negated=True), ("shown_at__isnull", False), _connector="OR"
                ),
                name="wall_post_shown_since_a_time",
            ),
        ),
        migrations.AddConstraint(
            model_name="wallpost",
            constraint=models.CheckConstraint(
                condition=models.Q(("place__isnull", True), ("state", "shown"), _connector="OR"),
                name="wall_post_pinned_is_shown",
            ),
        ),
        # Rows that change several times in their first seconds: dead versions are cleared away before the table grows.
        migrations.RunSQL(
            [
                f"ALTER TABLE integrations_{table} SET (autovacuum_vacuum_scale_factor = 0.02)"
                for table in ("notification", "delivery", "attempt", "remoteobject", "deliverycontent")
            ],
            migrations.RunSQL.noop,
        ),
        migrations.RunPython(make_the_row, migrations.RunPython.noop),
    ]
