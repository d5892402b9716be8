"""``python -m imapped_site.embedded exec -- COMMAND``: run a command with the embedded servers up."""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
from pathlib import Path

from imapped_site.embedded.errors import EmbeddedError
from imapped_site.embedded.identity import before_exec
from imapped_site.embedded.servers import EmbeddedServers


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m imapped_site.embedded", description=__doc__)
    actions = parser.add_subparsers(dest="action", required=True)
    run = actions.add_parser("exec", help="start PostgreSQL and Valkey, run COMMAND with their URLs set, stop both")
    run.add_argument("--data-dir", type=Path, default=Path(os.environ.get("DATA_DIR", "data")))
    run.add_argument("--ephemeral", action="store_true", help="no durability: for tests and benchmarks")
    run.add_argument("command", nargs=argparse.REMAINDER, metavar="-- COMMAND")
    arguments = parser.parse_args()
    arguments.command = arguments.command[1:] if arguments.command[:1] == ["--"] else arguments.command
    if not arguments.command:
        parser.error("no COMMAND given")
    return arguments


def main() -> int:
    """Return the command's exit status."""
    arguments = _arguments()
    # A signal ends the command; the servers are stopped after it, in order.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda _number, _frame: None)
    try:
        with EmbeddedServers(arguments.data_dir.absolute(), ephemeral=arguments.ephemeral) as servers:
            environment = os.environ | servers.environment
            child = subprocess.Popen(
                arguments.command, env=environment, preexec_fn=before_exec(death_signal=signal.SIGTERM)
            )
            for number in (signal.SIGTERM, signal.SIGHUP):
                signal.signal(number, lambda number, _frame: child.send_signal(number))
            return child.wait()
    except EmbeddedError as error:
        sys.stderr.write(f"embedded servers: {error}\n")
        return 1


if __name__ == "__main__":
    sys.exit(main())
