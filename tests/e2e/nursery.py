"""A warm process of imapped that forks a child for each call: real processes at no cost, which may be killed.

``Nursery`` is the test's side. The process itself keeps no connection; its children do what
``tests.e2e.nursery_calls`` says, and leave a result in a file.
"""

from __future__ import annotations

import gc
import json
import logging
import os
import select
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from imapped_site.embedded.identity import before_exec, die_with_parent
from imapped_site.settings.sources import BASE_DIR

logger = logging.getLogger(__name__)

_SECONDS = 120.0


class Child:
    """One process that was forked. One thread waits for it, any may kill it, also when it has been waited for."""

    def __init__(self, pid: int, result: Path) -> None:
        self.pid = pid
        self._result = result
        self._lock = threading.Lock()
        self._descriptor: int | None = os.pidfd_open(pid)

    def kill(self) -> None:
        """SIGKILL it, if it still runs."""
        # Once closed, the number may be that of another child.
        with self._lock, suppress(ProcessLookupError):
            if self._descriptor is not None:
                signal.pidfd_send_signal(self._descriptor, signal.SIGKILL)

    def wait(self) -> None:
        """Return when it has ended, however that came."""
        if self._descriptor is None:
            return
        ended, _, _ = select.select([self._descriptor], [], [], _SECONDS)
        assert ended, f"process {self.pid} has not ended"
        with self._lock:
            os.close(self._descriptor)
            self._descriptor = None

    def has_result(self) -> bool:
        """Tell whether it ended as it should."""
        return self._result.exists()

    def result(self) -> Any:
        """Wait for its end; returns its result, or fails the test."""
        self.wait()
        assert self.has_result(), f"process {self.pid} left no result"
        return json.loads(self._result.read_text())


class Nursery:
    """Starts the warm process; a context manager that leaves nothing behind. Threads may share it."""

    def __init__(self, environment: Mapping[str, str], directory: Path) -> None:
        self._directory = directory
        self.log = directory / "nursery.log"
        self._calls = 0
        self._lock = threading.Lock()
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.e2e.nursery"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                env=dict(environment),
                cwd=BASE_DIR,
                text=True,
                start_new_session=True,
                preexec_fn=before_exec(death_signal=signal.SIGKILL),
            )

    def begin(self, call: str, **arguments: object) -> Child:
        """Fork a child that makes a call of ``nursery_calls``."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with self._lock:
            self._calls += 1
            result = self._directory / f"result-{self._calls}"
            request = {"call": call, "arguments": arguments, "result": str(result)}
            self._process.stdin.write(json.dumps(request) + "\n")
            self._process.stdin.flush()
            line = self._process.stdout.readline()
            assert line, f"the nursery has ended:\n{self.last_words()}"
            return Child(int(line), result)

    def call(self, call: str, **arguments: object) -> Any:
        """Make a call in a child of its own; returns its result."""
        try:
            return self.begin(call, **arguments).result()
        except AssertionError as error:
            raise AssertionError(f"{call} {arguments}: {error}\n{self.last_words()}") from error

    def last_words(self) -> str:
        """Return what its children have logged last."""
        return self.log.read_text()[-6000:]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.communicate()


def _main() -> None:
    import django

    django.setup()
    from tests.e2e import nursery_calls

    nursery_calls.warm_up()
    gc.freeze()
    parent = os.getpid()
    for line in sys.stdin:
        # Those that have ended; whoever began them looks at them before the next call.
        with suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        pid = os.fork()
        if not pid:
            die_with_parent(signal.SIGKILL, parent=parent)
            # As every process of ours has one: what several do at once is then shared out among them.
            os.setsid()
            _be_a_child(nursery_calls.CALLS, json.loads(line))
        print(pid, flush=True)


def _be_a_child(calls: Mapping[str, Any], request: Mapping[str, Any]) -> None:
    status = 1
    try:
        os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
        result = Path(request["result"])
        draft = result.with_suffix(".new")
        draft.write_text(json.dumps(calls[request["call"]](**request["arguments"])))
        draft.rename(result)
        status = 0
    except BaseException:
        # The edge of the process: nothing above may run twice.
        logger.exception("a call failed")
    finally:
        sys.stderr.flush()
        os._exit(status)


if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "imapped_site.settings")
    _main()
