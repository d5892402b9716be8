from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("sync", "0006_identity"),
    ]

    operations = [
        migrations.CreateModel(
            name="WatcherProcess",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("holder", models.CharField(max_length=200, unique=True)),
                ("seen_at", models.DateTimeField()),
            ],
        ),
    ]
