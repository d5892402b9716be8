"""The Celery application: ``celery -A imapped_site.celery worker``."""

from __future__ import annotations

import logging.config
import os
import signal
import warnings
from typing import Any

from celery import Celery
from celery.signals import setup_logging, worker_process_init, worker_shutting_down
from django.conf import settings

from imapped_site.embedded.identity import die_with_parent
from sync import stopping

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "imapped_site.settings")

# `make run` works as root too; with JSON as the only content nothing in a message can run code.
warnings.filterwarnings("ignore", "You're running the worker with superuser privileges")

app = Celery("imapped")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()


@setup_logging.connect
def configure_logging(**_: Any) -> None:
    """Log as every other process does; connecting this keeps Celery from setting up its own."""
    logging.config.dictConfig(settings.LOGGING)


@worker_process_init.connect
def die_with_worker(**_: Any) -> None:
    """End this pool process when its worker is killed: a slice without a worker has nobody to acknowledge it."""
    die_with_parent(signal.SIGKILL, parent=os.getppid())


@worker_shutting_down.connect
def stop_slices(**_: Any) -> None:
    """Have the slices of all pool processes, or threads, end at their next commit point; others go on with them."""
    stopping.request_stop()
