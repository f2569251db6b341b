"""The one row about this installation."""

from django.db import migrations


def make_the_row(apps, _schema_editor):
    apps.get_model("integrations", "Installation").objects.get_or_create(id=1)


class Migration(migrations.Migration):
    dependencies = [("integrations", "0002_log_and_configuration")]
    operations = [migrations.RunPython(make_the_row, migrations.RunPython.noop)]
