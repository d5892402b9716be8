"""A tree of mailboxes with varied messages, the same for the same seed."""

from __future__ import annotations

import contextlib
import imaplib
import random
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone

from mailcache.wire import utf7
from tests.corpus import headers, structures

LARGE_BYTES = 15_000_000  # 20 MB as base64

_MAKERS = (
    *((headers.plain,) * 4), headers.encoded_words, headers.broken_encoded_words, headers.eight_bit, headers.folded,
    headers.addresses, headers.addresses, headers.odd_dates, headers.odd_shapes, structures.alternative,
    structures.with_attachments, structures.rfc2231, structures.nested, structures.deep, structures.encapsulated,
    structures.digest, structures.broken_multiparts, structures.broken_multiparts, structures.with_nul,
    headers.bare_line_feeds,
)  # fmt: skip

# Name and share of the messages.
_MAILBOXES = {
    "INBOX": 30, "Sent": 10, "Drafts": 2, "Trash": 5, "Junk": 5, "Archive": 20, "Archive/2023": 10, "Entwürfe & Co": 3,
    "Projects with spaces": 5, "Projects with spaces/Über uns/深い": 5, "Empty": 0, "Lists/debian-devel": 5,
}  # fmt: skip
_FLAGS = ("\\Seen", "\\Answered", "\\Flagged", "\\Deleted", "\\Draft", "$Forwarded", "NonJunk", "work")
_ZONES = (0, 60, -300, 330, 765, -720)


@dataclass(frozen=True, slots=True)
class CorpusMessage:
    """One message as it is to be appended."""

    data: bytes
    flags: tuple[str, ...]
    internal_date: datetime


@dataclass(frozen=True, slots=True)
class CorpusMailbox:
    """One mailbox and its messages, oldest first."""

    name: str
    messages: tuple[CorpusMessage, ...]


def make_corpus(*, seed: int = 3, messages: int = 2000, large_bytes: int = LARGE_BYTES) -> tuple[CorpusMailbox, ...]:
    """Return twelve mailboxes with ``messages`` messages, one of them of ``large_bytes`` before encoding."""
    rng = random.Random(seed)
    counts = {name: messages * share // 100 for name, share in _MAILBOXES.items()}
    counts["INBOX"] += messages - sum(counts.values())
    number = 0
    mailboxes: list[CorpusMailbox] = []
    for name, count in counts.items():
        made: list[CorpusMessage] = []
        for _ in range(count):
            number += 1
            made.append(_message(rng, _data(rng, number, large_bytes)))
        mailboxes.append(CorpusMailbox(name, tuple(made)))
    return tuple(mailboxes)


def _data(rng: random.Random, number: int, large_bytes: int) -> bytes:
    if number == 5 and large_bytes:
        return structures.large(rng, number, large_bytes)
    return rng.choice(_MAKERS)(rng, number)


def _message(rng: random.Random, data: bytes) -> CorpusMessage:
    flags = tuple(flag for flag in _FLAGS if rng.random() < 0.25)
    zone = timezone(timedelta(minutes=rng.choice(_ZONES)))
    moment = datetime(2010, 1, 1, tzinfo=zone) + timedelta(seconds=rng.randrange(400_000_000))
    return CorpusMessage(data, flags, moment)


def load_corpus(client: imaplib.IMAP4, corpus: tuple[CorpusMailbox, ...]) -> None:
    """Put a corpus into an account, creating its mailboxes."""
    for mailbox in corpus:
        name = b'"' + utf7.encode(mailbox.name) + b'"'
        with contextlib.suppress(imaplib.IMAP4.error):
            client.create(name)  # type: ignore[arg-type]  # bytes are sent as they are
        for message in mailbox.messages:
            stamp = message.internal_date.strftime('"%d-%b-%Y %H:%M:%S %z"')
            flags = f"({' '.join(message.flags)})"
            status, answer = client.append(name, flags, stamp, message.data)  # type: ignore[arg-type]  # as above
            if status != "OK":
                raise AssertionError(f"{mailbox.name}: {answer!r}: {message.data[:200]!r}")
