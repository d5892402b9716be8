"""The Celery application: what its settings promise, on the real worker."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from celery.exceptions import QueueNotFound
from django.conf import settings

from imapped_site.celery import app
from imapped_site.settings.sources import BASE_DIR
from tests.waiting import wait_until


def children_of(pid: int) -> list[int]:
    return [int(child) for path in Path(f"/proc/{pid}/task").glob("*/children") for child in path.read_text().split()]


def test_a_killed_worker_takes_its_pool_along() -> None:
    command = [
        sys.executable, "-m", "celery", "--quiet", "--app", "imapped_site.celery", "worker", "--concurrency", "2",
        "--queues", "bulk", "--without-gossip", "--without-mingle",
    ]  # fmt: skip
    with subprocess.Popen(command, cwd=BASE_DIR, stderr=subprocess.PIPE, text=True) as worker:
        assert worker.stderr is not None
        assert any(line.rstrip().endswith("ready.") for line in worker.stderr)
        pool = children_of(worker.pid)
        assert len(pool) == 2
        worker.kill()
    wait_until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in pool))


def test_a_message_is_json_and_acknowledged_when_its_work_is_done() -> None:
    assert app.conf.accept_content == ["json"]
    assert app.conf.task_acks_late
    assert app.conf.task_reject_on_worker_lost
    assert app.conf.worker_prefetch_multiplier == 1


def test_a_hanging_task_ends_before_the_broker_hands_it_out_again() -> None:
    assert app.conf.task_time_limit < app.conf.broker_transport_options["visibility_timeout"]


def test_a_misspelt_queue_is_an_error_and_not_a_new_queue() -> None:
    assert [queue.name for queue in settings.CELERY_TASK_QUEUES] == ["urgent", "sync", "bulk", "index"]
    with pytest.raises(QueueNotFound):
        app.amqp.router.route({"queue": "urgnet"}, "any.task")
