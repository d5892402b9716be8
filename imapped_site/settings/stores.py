"""PostgreSQL, Redis and the object store."""

from __future__ import annotations

from typing import Any

import environ

from imapped_site.settings.core import APP_ENV, DATA_DIR
from imapped_site.settings.current import read

__all__ = [
    "CACHES", "DATABASES", "DATABASE_URL", "DEFAULT_ACCOUNT_QUOTA_BYTES", "EMBEDDED_POSTGRES", "EMBEDDED_VALKEY",
    "OBJECT_STORE_PATH", "R2_ACCESS_KEY_ID",
    "R2_BUCKET", "R2_ENDPOINT", "R2_REGION", "R2_SECRET_ACCESS_KEY", "REDIS_URL", "STORAGES",
]  # fmt: skip

_REDIS_TIMEOUT = 2

DATABASE_URL = read.url("DATABASE_URL", "", schemes=("postgres", "postgresql"), hide=True)
REDIS_URL = read.url("REDIS_URL", "", schemes=("redis", "rediss", "unix"), hide=True)
# Where nobody set a URL, `manage.py run` starts the server; what an embedded server announces is not a setting.
EMBEDDED_POSTGRES = read.is_unset("DATABASE_URL")
EMBEDDED_VALKEY = read.is_unset("REDIS_URL")
if APP_ENV == "production":
    for _name, _value in (("DATABASE_URL", DATABASE_URL), ("REDIS_URL", REDIS_URL)):
        if not _value:
            read.fault(_name, "must be set in production; the embedded servers are for desks and small households")


def _database() -> dict[str, Any]:
    if DATABASE_URL:
        database: dict[str, Any] = dict(environ.Env.db_url_config(DATABASE_URL))
        if not database.get("NAME"):
            read.fault("DATABASE_URL", "names no database")
    else:
        # Where the embedded server would be: commands that need no database work, others say that it is not running.
        database = {"NAME": "imapped", "HOST": str(DATA_DIR / "postgres")}
    return {
        **database,
        "ENGINE": "django.db.backends.postgresql",
        # The console runs under ASGI, where a kept connection is a leaked one: asgi.py sets this to 0.
        "CONN_MAX_AGE": 60,
        "CONN_HEALTH_CHECKS": True,
        "OPTIONS": {"connect_timeout": 10, **database.get("OPTIONS", {})},
    }


DATABASES = {"default": _database()}
REDIS_URL = REDIS_URL or f"unix://{DATA_DIR / 'valkey' / 'not-running.sock'}"
CACHES = {
    "default": {
        "BACKEND": "django_redis.cache.RedisCache",
        "LOCATION": REDIS_URL,
        "KEY_PREFIX": "imapped",
        # Everything in the cache can be done without: a cache that is away is an empty one.
        "OPTIONS": {
            "SOCKET_CONNECT_TIMEOUT": _REDIS_TIMEOUT,
            "SOCKET_TIMEOUT": _REDIS_TIMEOUT,
            "IGNORE_EXCEPTIONS": True,
        },
    }
}

OBJECT_STORE_PATH = read.path("OBJECT_STORE_PATH", DATA_DIR / "objects") or DATA_DIR / "objects"
R2_ENDPOINT = read.url("R2_ENDPOINT", "", schemes=("http", "https"))
R2_BUCKET = read.text("R2_BUCKET")
R2_ACCESS_KEY_ID = read.secret("R2_ACCESS_KEY_ID")
R2_SECRET_ACCESS_KEY = read.secret("R2_SECRET_ACCESS_KEY")
R2_REGION = read.text("R2_REGION", "auto")
_USE_S3 = read.all_or_none(
    {
        "R2_ENDPOINT": R2_ENDPOINT,
        "R2_BUCKET": R2_BUCKET,
        "R2_ACCESS_KEY_ID": R2_ACCESS_KEY_ID,
        "R2_SECRET_ACCESS_KEY": R2_SECRET_ACCESS_KEY,
    },
    group="S3 storage",
)


def _segments() -> dict[str, Any]:
    if not _USE_S3:
        options: dict[str, Any] = {"location": str(OBJECT_STORE_PATH), "file_permissions_mode": 0o600}
        return {
            "BACKEND": "mailcache.segments.DurableFileSystemStorage",
            "OPTIONS": options | {"directory_permissions_mode": 0o700, "allow_overwrite": False},
        }
    return {
        "BACKEND": "storages.backends.s3.S3Storage",
        "OPTIONS": {
            "endpoint_url": R2_ENDPOINT,
            "bucket_name": R2_BUCKET,
            "access_key": R2_ACCESS_KEY_ID,
            "secret_key": R2_SECRET_ACCESS_KEY,
            "region_name": R2_REGION,
            "file_overwrite": False,
            "querystring_auth": False,
            "default_acl": None,
            "addressing_style": "path",
        },
    }


STORAGES = {
    "default": {
        "BACKEND": "django.core.files.storage.FileSystemStorage",
        "OPTIONS": {"location": str(DATA_DIR / "files")},
    },
    "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"},
    "segments": _segments(),
}
DEFAULT_ACCOUNT_QUOTA_BYTES = read.integer("DEFAULT_ACCOUNT_QUOTA_BYTES", 10 * 1024**3, minimum=1)
read.retired("SEARCH_INDEX_PATH", "the text index lives in PostgreSQL")
