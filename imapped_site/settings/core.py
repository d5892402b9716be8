"""What every process needs: environment name, directories, keys, installed apps, security of the console."""

from __future__ import annotations

import hashlib
import hmac
from pathlib import Path
from urllib.parse import urlsplit

from imapped_site.generated_key import load_or_create_key
from imapped_site.settings.current import read
from imapped_site.settings.sources import BASE_DIR

__all__ = [
    "ALLOWED_HOSTS", "APP_BASE_URL", "APP_ENV", "ASGI_APPLICATION", "AUTH_PASSWORD_VALIDATORS", "AUTH_USER_MODEL",
    "BASE_DIR", "CSRF_COOKIE_SECURE", "CSRF_TRUSTED_ORIGINS", "DATA_DIR", "DEBUG",
    "DEFAULT_AUTO_FIELD", "ENCRYPTION_MASTER_KEY", "ENCRYPTION_PREVIOUS_MASTER_KEY", "FORMAT_MODULE_PATH",
    "GENERATION_TABLE_PATH", "HTTP_BIND", "INSTALLED_APPS", "LANGUAGE_CODE", "METRICS_BIND", "MIDDLEWARE",
    "PASSWORD_HASHERS", "ROOT_URLCONF",
    "RUN_DIR", "SECRET_KEY", "SECURE_HSTS_SECONDS", "SECURE_PROXY_SSL_HEADER", "SECURE_REDIRECT_EXEMPT",
    "SECURE_SSL_REDIRECT", "SESSION_COOKIE_SECURE", "SILENCED_SYSTEM_CHECKS", "STATIC_URL", "TEMPLATES", "TIME_ZONE",
    "USE_TZ", "WHITENOISE_USE_FINDERS", "X_FRAME_OPTIONS",
]  # fmt: skip

_PLACEHOLDER_KEYS = frozenset({"change-me-32-bytes-minimum", "change-me", "changeme", "secret"})
_KEY_MINIMUM = 32

read.path("APP_CONFIG_PATH")
APP_ENV = read.text("APP_ENV", "development", choices=("development", "production", "test"))
_PRODUCTION = APP_ENV == "production"

APP_BASE_URL = read.url("APP_BASE_URL", "http://localhost:8080", schemes=("http", "https"))
_base = urlsplit(APP_BASE_URL)
_behind_tls = _base.scheme == "https"
if _PRODUCTION and not _behind_tls:
    read.fault("APP_BASE_URL", "must start with https:// in production: the console carries passwords")

DATA_DIR = read.path("DATA_DIR", BASE_DIR / "data") or BASE_DIR / "data"
RUN_DIR = DATA_DIR / "run"
GENERATION_TABLE_PATH = RUN_DIR / "generations"


def _master_key(data_dir: Path) -> str:
    key = read.secret("ENCRYPTION_MASTER_KEY")
    if _PRODUCTION and (not key or key.lower() in _PLACEHOLDER_KEYS or len(key) < _KEY_MINIMUM):
        read.fault(
            "ENCRYPTION_MASTER_KEY", f"production needs a secret of its own of at least {_KEY_MINIMUM} characters"
        )
    if key or _PRODUCTION:
        return key
    try:
        return load_or_create_key(data_dir / "encryption-master-key")
    except OSError as error:
        read.fault("ENCRYPTION_MASTER_KEY", f"not set, and none can be kept in DATA_DIR: {error}")
        return ""


ENCRYPTION_MASTER_KEY = _master_key(DATA_DIR)
# Set while the master key is being changed: opens what was sealed before; ``manage.py rotate_sealing_key`` ends that.
ENCRYPTION_PREVIOUS_MASTER_KEY = read.secret("ENCRYPTION_PREVIOUS_MASTER_KEY")
# One secret to keep, not two: Django's key follows from the master key unless it is set by itself.
SECRET_KEY = (
    read.secret("SECRET_KEY")
    or hmac.new(ENCRYPTION_MASTER_KEY.encode(), b"imapped: Django SECRET_KEY", hashlib.sha256).hexdigest()
)

HTTP_BIND = read.bind("HTTP_BIND", "127.0.0.1:8080")
METRICS_BIND = read.bind("METRICS_BIND", "off")

DEBUG = False
ALLOWED_HOSTS = sorted({_base.hostname or "localhost", "localhost", "127.0.0.1", "[::1]"})
CSRF_TRUSTED_ORIGINS = [f"{_base.scheme}://{_base.netloc}"]
CSRF_COOKIE_SECURE = SESSION_COOKIE_SECURE = SECURE_SSL_REDIRECT = _behind_tls
SECURE_REDIRECT_EXEMPT = [r"^healthz$", r"^readyz$", r"^metrics$"]
SECURE_HSTS_SECONDS = 31_536_000 if _behind_tls else 0
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if _behind_tls else None
X_FRAME_OPTIONS = "DENY"
SILENCED_SYSTEM_CHECKS = [
    "security.W005",  # HSTS for sub-domains and
    "security.W021",  # the browsers' preload list are the domain owner's decision, not a mirror's
    "auth.E003",  # the login name is unique without regard to case: constraint user_email_unique
]

INSTALLED_APPS = [
    "imapped_site",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "django_prometheus",
    "mailcache",
    "sync",
    "imapfront",
]
MIDDLEWARE = [
    "django_prometheus.middleware.PrometheusBeforeMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "imapped_site.static_files.StaticFilesMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "django_prometheus.middleware.PrometheusAfterMiddleware",
]
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]
ROOT_URLCONF = "imapped_site.urls"
ASGI_APPLICATION = "imapped_site.asgi.application"

AUTH_USER_MODEL = "mailcache.User"
PASSWORD_HASHERS = ["django.contrib.auth.hashers.Argon2PasswordHasher"]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator", "OPTIONS": {"min_length": 10}},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
]

DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
LANGUAGE_CODE = "en"
TIME_ZONE = "UTC"
USE_TZ = True
USE_I18N = False
FORMAT_MODULE_PATH = ["imapped_site.formats"]
STATIC_URL = "static/"
# The console's few static files are read from the installed packages at start: no collectstatic step to forget.
WHITENOISE_USE_FINDERS = True
