"""A client's hands on an account at the fake Gmail, and looks at both sides."""

from __future__ import annotations

from mailcache.models import Account
from tests.builders import make_account, message_bytes
from tests.fakes.chaos_proxy import ChaosProxy
from tests.fakes.gmail import PASSWORD, USER, FakeGmail
from tests.sync.mirror import Messages, differences, mirrored
from tests.sync.replay.hands import LocalHands

INBOX, ALL, TRASH, SPAM, DRAFTS, SENT, STARRED = (
    "INBOX", "[Gmail]/All Mail", "[Gmail]/Trash", "[Gmail]/Spam", "[Gmail]/Drafts", "[Gmail]/Sent Mail",
    "[Gmail]/Starred",
)  # fmt: skip


def gmail_account(port: int) -> Account:
    """Make an account of the fake Gmail's user."""
    account = make_account(port=port, username=USER, secret=PASSWORD)
    Account.objects.filter(pk=account.pk).update(profile="gmail")
    return account


class GmailHands(LocalHands):
    """Changes here by mailbox name, and the fake Gmail behind a proxy."""

    def __init__(self, gmail: FakeGmail, proxy: ChaosProxy) -> None:
        super().__init__(gmail_account(proxy.port))
        self.gmail = gmail
        self.proxy = proxy

    def started(self, *subjects: str, labels: tuple[str, ...] = ("\\Inbox",)) -> list[int]:
        """Let messages arrive, and bring the mirror in step."""
        ids = [self.gmail.account.deliver(message_bytes(subject), labels) for subject in subjects]
        self.sync()
        self.gmail.forget()
        return ids

    def here(self) -> Messages:
        """Return what clients see, without mailboxes that hold no messages."""
        return {name: rows for name, rows in mirrored(self.account).items() if name != "[Gmail]"}

    def there(self) -> Messages:
        """Return what Gmail shows."""
        mails = self.gmail.account.mails
        return {
            folder.name: [(mails[msgid].data, frozenset(mails[msgid].flags)) for msgid in folder.uids]
            for folder in self.gmail.account.folders.values()
            if folder.selectable
        }

    def subjects(self, name: str) -> list[bytes]:
        """Return the subjects of what clients see in a mailbox."""
        return [data.partition(b"Subject: ")[2].partition(b"\r\n")[0] for data, _ in self.here()[name]]

    def agree(self) -> None:
        """Fail unless both sides show the same, now and when a sync has read everything again."""
        assert self.unsettled() == []
        assert differences(self.here(), self.there()) == []
        self.sync()
        assert differences(self.here(), self.there()) == []

    def stored(self) -> list[bytes]:
        """Return the STORE commands that Gmail was sent."""
        return self.gmail.asked(b"UID STORE")
