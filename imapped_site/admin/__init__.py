"""The operators' console. Shows accounts, mailboxes, runs and queues; never the contents of a message.

Django finds this package because ``imapped_site`` is an installed application; importing the modules registers them.
"""

from __future__ import annotations

from importlib import import_module

from django.contrib import admin
from django.contrib.auth.models import Group

from imapped_site.admin import accounts, audit, hosts, mailboxes, mutations, runs, users

__all__ = ["accounts", "audit", "hosts", "mailboxes", "mutations", "runs", "users"]

admin.site.site_header = admin.site.site_title = "imapped"
admin.site.index_title = "Operation"
admin.site.site_url = None
# Seven pages need no menu at the side, their tables need the room.
admin.site.enable_nav_sidebar = False
# Roles are two flags of the user; groups and their permissions would be settings that do nothing. Django registers
# them when this module is imported, which may not have happened yet.
import_module("django.contrib.auth.admin")
admin.site.unregister(Group)
