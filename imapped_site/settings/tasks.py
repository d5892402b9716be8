"""Celery and how mail is synchronised."""

from __future__ import annotations

from typing import Any

from kombu import Queue

from imapped_site.settings.core import RUN_DIR
from imapped_site.settings.current import read
from imapped_site.settings.stores import REDIS_URL

__all__ = [
    "CELERY_ACCEPT_CONTENT", "CELERY_BEAT_SCHEDULE", "CELERY_BEAT_SCHEDULE_FILENAME",
    "CELERY_BROKER_CONNECTION_MAX_RETRIES", "CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP",
    "CELERY_BROKER_TRANSPORT_OPTIONS", "CELERY_BROKER_URL",
    "CELERY_TASK_ACKS_LATE", "CELERY_TASK_CREATE_MISSING_QUEUES", "CELERY_TASK_DEFAULT_QUEUE",
    "CELERY_TASK_IGNORE_RESULT",
    "CELERY_TASK_PUBLISH_RETRY_POLICY", "CELERY_TASK_QUEUES", "CELERY_TASK_REJECT_ON_WORKER_LOST", "CELERY_TASK_ROUTES",
    "CELERY_TASK_SERIALIZER", "CELERY_TASK_SOFT_TIME_LIMIT", "CELERY_TASK_TIME_LIMIT", "CELERY_TIMEZONE",
    "CELERY_WORKER_CANCEL_LONG_RUNNING_TASKS_ON_CONNECTION_LOSS", "CELERY_WORKER_CONCURRENCY",
    "CELERY_WORKER_HIJACK_ROOT_LOGGER", "CELERY_WORKER_PREFETCH_MULTIPLIER", "MASS_DELETION_SHARE",
    "PERIODIC_SYNC_INTERVAL_SECONDS", "SYNC_CONCURRENCY", "SYNC_SLOW_CONCURRENCY",
    "UPSTREAM_CA_FILE", "UPSTREAM_CONNECTION_LIMIT_PER_ACCOUNT",
    "UPSTREAM_CONNECTION_LIMIT_PER_HOST",
]  # fmt: skip

SYNC_CONCURRENCY = read.integer("SYNC_CONCURRENCY", 4, minimum=1, maximum=256)
SYNC_SLOW_CONCURRENCY = read.integer("SYNC_SLOW_CONCURRENCY", 32, minimum=1, maximum=1024)
UPSTREAM_CONNECTION_LIMIT_PER_ACCOUNT = read.integer("UPSTREAM_CONNECTION_LIMIT_PER_ACCOUNT", 2, minimum=1, maximum=50)
UPSTREAM_CONNECTION_LIMIT_PER_HOST = read.optional_integer("UPSTREAM_CONNECTION_LIMIT_PER_HOST", minimum=2)
UPSTREAM_CA_FILE = read.path("UPSTREAM_CA_FILE")
if UPSTREAM_CA_FILE is not None and not UPSTREAM_CA_FILE.is_file():
    read.fault("UPSTREAM_CA_FILE", f"there is no file {UPSTREAM_CA_FILE}")
MASS_DELETION_SHARE = read.integer("MASS_DELETION_SHARE", 50, minimum=1, maximum=100)
PERIODIC_SYNC_INTERVAL_SECONDS = read.integer("PERIODIC_SYNC_INTERVAL_SECONDS", 3600, minimum=1)

CELERY_BROKER_URL = REDIS_URL.replace("unix://", "redis+socket://", 1) if REDIS_URL.startswith("unix://") else REDIS_URL
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_BROKER_CONNECTION_MAX_RETRIES: int | None = None
CELERY_BROKER_TRANSPORT_OPTIONS: dict[str, Any] = {
    # A task is a slice of at most 30 s, so one that has not been acknowledged for this long is lost and runs again.
    "visibility_timeout": 600,
    # In turns: sync slices enqueue their successors, so in strict order bulk and index would never have theirs.
    "queue_order_strategy": "round_robin",
    "socket_timeout": 30,
    "socket_connect_timeout": 5,
    "retry_on_timeout": True,
    "health_check_interval": 25,
}
# A wake-up that cannot be sent is left to the sweep behind it: whoever enqueues must not wait for a broker.
CELERY_TASK_PUBLISH_RETRY_POLICY = {"max_retries": 1, "interval_start": 0.05, "interval_step": 0, "interval_max": 0.05}
CELERY_ACCEPT_CONTENT = ["json"]
CELERY_TASK_SERIALIZER = "json"
CELERY_TASK_IGNORE_RESULT = True
CELERY_TASK_ACKS_LATE = True
CELERY_TASK_REJECT_ON_WORKER_LOST = True
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
CELERY_WORKER_CONCURRENCY = SYNC_CONCURRENCY
CELERY_WORKER_CANCEL_LONG_RUNNING_TASKS_ON_CONNECTION_LOSS = False
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
# The slice's own clock ends it long before; these end a task that hangs in spite of every deadline.
CELERY_TASK_SOFT_TIME_LIMIT = 300
CELERY_TASK_TIME_LIMIT = 330
CELERY_TIMEZONE = "UTC"
CELERY_TASK_QUEUES = tuple(Queue(name) for name in ("urgent", "sync", "bulk", "index"))
CELERY_TASK_DEFAULT_QUEUE = "sync"
CELERY_TASK_CREATE_MISSING_QUEUES = False
# A task's queue is the module it stands in: sync/tasks/urgent.py, sync/tasks/bulk.py ...; all others go to "sync".
CELERY_TASK_ROUTES = {
    "*.tasks.urgent.*": {"queue": "urgent"},
    "*.tasks.bulk.*": {"queue": "bulk"},
    "search.tasks.*": {"queue": "index"},
}
CELERY_BEAT_SCHEDULE_FILENAME = str(RUN_DIR / "celerybeat-schedule")
CELERY_BEAT_SCHEDULE: dict[str, dict[str, Any]] = {
    # A message that waited this long has been followed by another one.
    "enqueue due replays": {"task": "sync.tasks.enqueue_due_replays", "schedule": 1.0, "options": {"expires": 1.0}},
    "enqueue due syncs": {"task": "sync.tasks.enqueue_due_syncs", "schedule": 5.0, "options": {"expires": 5.0}},
    "enqueue wanted": {"task": "sync.tasks.urgent.enqueue_wanted", "schedule": 2.0, "options": {"expires": 2.0}},
    "enqueue due audits": {
        "task": "sync.tasks.enqueue_due_audits",
        "schedule": 30.0,
        "options": {"expires": 30.0},
    },
}
