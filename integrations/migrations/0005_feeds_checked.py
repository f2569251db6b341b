from django.contrib.postgres.operations import ValidateConstraint
from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("integrations", "0004_feeds")]

    operations = [ValidateConstraint("notification", "notification_without_tickets_says_why")]
