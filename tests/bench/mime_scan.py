"""How many messages a second the MIME reader takes: ``python -m tests.bench.mime_scan``."""

from __future__ import annotations

import random
import sys
import time

from mailcache.mime.parsed import parse_message
from mailcache.mime.scan import scan
from tests.corpus import structures


def main(messages: int = 500) -> None:
    """Print the rates for structure alone and for everything that is kept of a message."""
    rng = random.Random(1)
    kinds = {
        "alternative, 1 KB": [structures.alternative(rng, number) for number in range(messages)],
        "nested with attachments, 3 KB": [structures.nested(rng, number) for number in range(messages)],
        "one attachment, 30 KB": [structures.large(rng, number, 22_000) for number in range(messages)],
    }
    for name, made in kinds.items():
        for label, parse in (("structure", scan), ("everything", parse_message)):
            started = time.perf_counter()
            for data in made:
                parse(data)
            rate = len(made) / (time.perf_counter() - started)
            print(f"{name:32} {label:12} {rate:8.0f} messages/s")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
