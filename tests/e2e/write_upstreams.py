"""Where the mail lies that is written to while something is killed: at a Dovecot, or at the fake Gmail."""

from __future__ import annotations

import imaplib
import re
from dataclasses import dataclass
from typing import Protocol

from tests.e2e.mirror import Mirror, differences, imaplib_login, read_with_imaplib
from tests.e2e.write_scenarios import fill_gmail, mark, take_marks_back
from tests.fakes.gmail import PASSWORD, USER, FakeGmail
from tests.servers.dovecot import Dovecot, new_user

_LSUB = re.compile(rb'.*\) "/" "?([^"]*)"?\Z')


@dataclass(frozen=True, slots=True)
class Seen:
    """What a client sees of an account."""

    mail: Mirror
    subscribed: frozenset[bytes]

    def unlike(self, other: Seen) -> list[str]:
        """Return in words how the two differ."""
        told = differences(self.mail, other.mail)
        if self.subscribed != other.subscribed:
            told.append(f"subscribed to {sorted(self.subscribed)} instead of {sorted(other.subscribed)}")
        return told


def look(client: imaplib.IMAP4, *, subscriptions: bool = True) -> Seen:
    """Return what this client sees."""
    lines = client.lsub()[1] if subscriptions else []
    found = [_LSUB.match(line) for line in lines if isinstance(line, bytes)]
    return Seen(read_with_imaplib(client), frozenset(match[1] for match in found if match is not None))


class UpstreamMail(Protocol):
    """One user's mail upstream, as every scenario finds it."""

    user: str
    password: str
    profile: str
    has_subscriptions: bool

    def mark(self) -> None:
        """Do what another client does that nobody here knows of yet."""

    def take_marks_back(self) -> None:
        """Let that client change its mind."""

    def seen(self) -> Seen:
        """Return what is there."""


class DovecotMail:
    """A copy of the template's mail."""

    profile = ""
    has_subscriptions = True

    def __init__(self, dovecot: Dovecot, template: str) -> None:
        self._dovecot = dovecot
        self.user, self.password = new_user(), dovecot.password
        dovecot.copy_user(template, self.user)

    def mark(self) -> None:
        """Mark a message as deleted."""
        with self._dovecot.login(self.user) as client:
            mark(client)

    def take_marks_back(self) -> None:
        """Take the marks off."""
        with self._dovecot.login(self.user) as client:
            take_marks_back(client)

    def seen(self) -> Seen:
        """Return what is there."""
        with self._dovecot.login(self.user) as client:
            return look(client)


class GmailMail:
    """Mail with labels, all of it known here: nobody else does anything."""

    user, password = USER, PASSWORD
    profile = "gmail"
    has_subscriptions = False

    def __init__(self, gmail: FakeGmail) -> None:
        self._port = gmail.port
        fill_gmail(gmail.begin_anew())

    def mark(self) -> None:
        """Do nothing."""

    def take_marks_back(self) -> None:
        """Do nothing."""

    def seen(self) -> Seen:
        """Return what is there."""
        with imaplib_login(self._port, USER, PASSWORD) as client:
            return look(client, subscriptions=False)
