"""Leave room in every page of messages, so that a change of flags stays on its page (a heap-only update)."""

from __future__ import annotations

from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("mailcache", "0001_initial")]

    operations = [
        migrations.RunSQL(
            "ALTER TABLE mailcache_message SET (fillfactor = 85); ALTER TABLE mailcache_mailbox SET (fillfactor = 50)",
            "ALTER TABLE mailcache_message RESET (fillfactor); ALTER TABLE mailcache_mailbox RESET (fillfactor)",
        )
    ]
