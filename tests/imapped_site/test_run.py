"""``manage.py run`` as a whole: one tree that starts, stops, starts again, and does not outlive its root."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from imapped_site.embedded.process import free_port
from imapped_site.settings.sources import BASE_DIR
from tests.waiting import wait_until


class Tree:
    """One ``manage.py run`` over a data directory of its own."""

    def __init__(self, data_dir: Path) -> None:
        self.port, self.metrics_port = free_port(), free_port()
        self.log = data_dir.with_name(f"run-{self.port}.log")
        without_servers = {key: value for key, value in os.environ.items() if key not in {"DATABASE_URL", "REDIS_URL"}}
        binds = {
            "HTTP_BIND": f"127.0.0.1:{self.port}",
            "METRICS_BIND": f"127.0.0.1:{self.metrics_port}",
            "IMAP_PLAINTEXT_BIND": f"127.0.0.1:{free_port()}",
            "IMAP_TLS_BIND": f"127.0.0.1:{free_port()}",
        }
        environment = without_servers | binds | {"DATA_DIR": str(data_dir), "SYNC_CONCURRENCY": "1"}
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, BASE_DIR / "manage.py", "run"], env=environment, stdout=log, stderr=log
            )

    @property
    def output(self) -> str:
        return self.log.read_text(encoding="utf-8", errors="replace")

    def wait_for(self, *texts: str) -> None:
        wait_until(lambda: all(text in self.output for text in texts) or self.process.poll() is not None, timeout=60)
        assert self.process.poll() is None, self.output

    def get(self, path: str, *, port: int | None = None) -> int:
        with urllib.request.urlopen(f"http://127.0.0.1:{port or self.port}{path}", timeout=20) as response:
            status: int = response.status
            return status


def processes_of(data_dir: Path) -> list[str]:
    """Command lines of living processes that were told of *data_dir*: by an argument, or in their environment."""
    found: list[str] = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            command, environment = (process / "cmdline").read_bytes(), (process / "environ").read_bytes()
        except OSError:
            continue
        if command and str(data_dir).encode() in command + environment:
            found.append(command.replace(b"\0", b" ").decode())
    return found


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    return tmp_path / "data"


@pytest.fixture
def trees(data_dir: Path) -> Iterator[list[Tree]]:
    """Trees to be killed at the end, if they still run."""
    started: list[Tree] = []
    yield started
    for tree in started:
        tree.process.kill()
        tree.process.wait()


def test_start_stop_start_again_and_kill(data_dir: Path, trees: list[Tree]) -> None:
    trees.append(first := Tree(data_dir))
    first.wait_for("Uvicorn running", "ready.", "beat: Starting")
    assert [first.get(path) for path in ("/admin/login/", "/healthz", "/readyz")] == [200] * 3
    assert first.get("/metrics", port=first.metrics_port) == 200
    assert re.search(r"Created the administrator  admin@localhost\n\s+with the password +\S{20}", first.output)
    first.process.send_signal(signal.SIGTERM)
    assert first.process.wait(45) == 0
    assert first.output.rstrip().endswith("run    | stopped")
    assert processes_of(data_dir) == []

    trees.append(second := Tree(data_dir))
    second.wait_for("Uvicorn running", "ready.")
    assert "Created the administrator" not in second.output
    assert "self-signed" not in second.output
    second.process.kill()
    second.process.wait()
    wait_until(lambda: processes_of(data_dir) == [], timeout=30)


def test_a_second_tree_over_the_same_data_is_refused_with_a_reason(data_dir: Path, trees: list[Tree]) -> None:
    trees.append(first := Tree(data_dir))
    first.wait_for("Uvicorn running")
    trees.append(second := Tree(data_dir))
    assert second.process.wait(30) != 0
    assert f"process {first.process.pid} already runs the servers" in second.output
    assert first.process.poll() is None
