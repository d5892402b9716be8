from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("sync", "0007_watchers"),
    ]

    operations = [
        migrations.AddField(
            model_name="checkpoint",
            name="flags_modseq",
            field=models.BigIntegerField(
                help_text="HIGHESTMODSEQ when that reading began: since then flags above the cut may have changed.",
                null=True,
            ),
        ),
    ]
