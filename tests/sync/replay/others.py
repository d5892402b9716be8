"""What another client does to the upstream of an account, without the mirror."""

from __future__ import annotations

from tests.servers.dovecot import Dovecot


class OtherClient:
    """Acts on all messages of a mailbox at once; nothing is synced."""

    def __init__(self, dovecot: Dovecot, user: str) -> None:
        self._dovecot = dovecot
        self._user = user

    def store(self, operation: str, *flags: str, mailbox: str = "INBOX") -> None:
        """Change flags; ``operation`` is STORE's."""
        with self._dovecot.login(self._user) as client:
            _do(client.select(mailbox))
            _do(client.store("1:*", operation, f"({' '.join(flags)})"))

    def expunge(self, mailbox: str = "INBOX") -> None:
        """Delete the messages."""
        with self._dovecot.login(self._user) as client:
            _do(client.select(mailbox))
            _do(client.store("1:*", "+FLAGS", "(\\Deleted)"))
            _do(client.expunge())

    def move(self, target: str, mailbox: str = "INBOX") -> None:
        """Move the messages."""
        with self._dovecot.login(self._user) as client:
            _do(client.select(mailbox))
            _do(client.uid("MOVE", "1:*", target))

    def create(self, mailbox: str) -> None:
        """Create a mailbox."""
        with self._dovecot.login(self._user) as client:
            _do(client.create(mailbox))

    def delete(self, mailbox: str) -> None:
        """Delete a mailbox."""
        with self._dovecot.login(self._user) as client:
            _do(client.delete(mailbox))

    def rename(self, mailbox: str, name: str) -> None:
        """Rename a mailbox."""
        with self._dovecot.login(self._user) as client:
            _do(client.rename(mailbox, name))

    def renumber(self, mailbox: str) -> None:
        """Give a mailbox another UIDVALIDITY and its messages other UIDs: what a restored backup does."""
        with self._dovecot.login(self._user) as client:
            _do(client.rename(mailbox, "Aside"))
            _do(client.create(mailbox))
            _do(client.append(mailbox, "()", None, b"Subject: filler\r\n\r\n"))
            _do(client.select(mailbox))
            _do(client.store("1", "+FLAGS", "(\\Deleted)"))
            _do(client.expunge())
            _, (exists,) = client.select("Aside")
            if int(exists or 0):
                _do(client.uid("COPY", "1:*", mailbox))
            _do(client.unselect())
            _do(client.delete("Aside"))


def _do(answer: tuple[str, object]) -> None:
    assert answer[0] == "OK", answer
