"""How long the first sync of a mailbox takes, and where the time goes: ``python -m tests.bench.first_sync [messages]``.

From a Dovecot on loopback into embedded servers with fsync on: everything durable and parsed at the end. One process.
"""

from __future__ import annotations

import os
import random
import resource
import secrets
import shutil
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from typing import Any

from imapped_site.embedded.servers import EmbeddedServers

_USER = "bench"
_TIMED = {
    "fetch (with the wait for the upstream)": "sync.upstream.blocking.BlockingClient.uid_fetch",
    "rows of the skeleton": "sync.skeleton.add_messages",
    "rows of headers": "sync.listing.add_headers",
    "wait for the storing thread": "sync.body_store.BodyStore.drain",
    "thread: parse": "sync.body_store.parse_message",
    "thread: segments": "sync.body_store.store_segment",
    "thread: rows of bodies": "sync.body_store.add_contents",
}


def main(messages: int = 5_000) -> None:
    """Measure one first sync."""
    with _environment() as directory:
        import django

        django.setup()
        from django.core.management import call_command

        call_command("migrate", verbosity=0)
        _measure(directory, messages)


@contextmanager
def _environment() -> Iterator[Path]:
    directory = Path(tempfile.mkdtemp(prefix="imapped-bench-"))
    directory.chmod(0o711)
    os.environ |= {
        "DJANGO_SETTINGS_MODULE": "imapped_site.settings",
        "APP_ENV": "test",
        "DATA_DIR": str(directory),
        "ENCRYPTION_MASTER_KEY": secrets.token_urlsafe(32),
    }
    try:
        with EmbeddedServers(directory) as servers:
            os.environ |= servers.environment
            yield directory
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def _measure(directory: Path, messages: int) -> None:
    from sync.account_run import SliceEnd, run_account_until_done
    from sync.models import SyncRun
    from tests.builders import make_account
    from tests.servers.dovecot import running_dovecot

    (directory / "dovecot").mkdir()
    with running_dovecot(directory / "dovecot") as dovecot:
        size = _fill(directory / "dovecot" / "mail" / _USER, messages)
        with dovecot.login(_USER) as client:
            client.select("INBOX")  # Dovecot builds its index now, not while it is measured
        account = make_account(port=dovecot.plain_port, username=_USER, secret=dovecot.password)
        spent = _time_calls()
        began, cpu = time.perf_counter(), time.process_time()
        end = run_account_until_done(account.pk)
        seconds, cpu = time.perf_counter() - began, time.process_time() - cpu
        run = SyncRun.objects.get()
    assert end is SliceEnd.DONE, end
    assert run.bodies_added == messages, run.bodies_added
    print(f"{messages} messages, {size / 1e6:.0f} MB: {seconds:.1f} s, {messages / seconds:.0f} messages/s,"
          f" {size / seconds / 1e6:.1f} MB/s, CPU {cpu:.1f} s")  # fmt: skip
    print(f"{run.commands} commands in {run.slices} slices, {run.headers_added} headers ahead;"
          f" peak {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MB")  # fmt: skip
    for name in _TIMED:
        print(f"  {name:40} {spent[name]:6.1f} s")


def _fill(maildir: Path, messages: int) -> int:
    """Write messages where Dovecot looks for them; returns their size in bytes."""
    from tests.corpus import structures

    rng = random.Random(1)
    kinds: list[Callable[[int], bytes]] = [
        lambda number: structures.alternative(rng, number),
        lambda number: structures.nested(rng, number),
        lambda number: structures.large(rng, number, 64_000),
    ]
    for name in ("cur", "new", "tmp"):
        (maildir / name).mkdir(parents=True)
    size = 0
    for number in range(messages):
        data = kinds[number % len(kinds)](number)
        size += len(data)
        (maildir / "cur" / f"1715934600.M{number:06d}P1.bench,S={len(data)}:2,").write_bytes(data)
    if os.geteuid() == 0:
        owner = maildir.parent.stat()
        for path in (maildir, *maildir.rglob("*")):
            shutil.chown(path, "nobody", owner.st_gid)
    return size


def _time_calls() -> Counter[str]:
    """Add up how long each of ``_TIMED`` takes."""
    from pydoc import locate

    spent: Counter[str] = Counter()
    lock = threading.Lock()
    for name, path in _TIMED.items():
        owner_path, _, attribute = path.rpartition(".")
        owner: Any = locate(owner_path)
        setattr(owner, attribute, _timed(getattr(owner, attribute), name, spent, lock))
    return spent


def _timed(function: Callable[..., Any], name: str, spent: Counter[str], lock: threading.Lock) -> Callable[..., Any]:
    @wraps(function)
    def timed(*args: Any, **kwargs: Any) -> Any:
        began = time.perf_counter()
        try:
            return function(*args, **kwargs)
        finally:
            with lock:
                spent[name] += time.perf_counter() - began  # type: ignore[assignment] # a Counter of seconds

    return timed


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
