"""The state of a fake Gmail account and what people do to it on the web; IMAP sessions work on the same."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta

from tests.fakes.gmail.mail import DATE, ENGLISH, Folder, Mail, Place, Shown, SystemNames, system_folders

_FIRST_MSGID = 1_278_455_344_230_334_865
_BY_LABEL = {"\\Starred": "\\Flagged", "\\Draft": "\\Draft"}


class GmailAccount:
    """Messages, labels and mailboxes. Every method may be called from any thread."""

    def __init__(self, names: SystemNames = ENGLISH) -> None:
        self.lock = threading.RLock()
        self.names = names
        self.mails: dict[int, Mail] = {}
        self.folders: dict[str, Folder] = {folder.name: folder for folder in system_folders(names)}
        self.all_mail_hidden = False
        self.folder_cap: int | None = None
        self.auto_expunge = False
        self.on_change: Callable[[], None] = lambda: None
        self._uidvalidities = itertools.count(100)
        self._ids = itertools.count(_FIRST_MSGID)
        self._modseq = 1_000
        self._depth = 0
        self._running_ahead = False
        self._behind: dict[int, tuple[Mail, int]] = {}

    # What people do on the web.

    def deliver(
        self,
        data: bytes,
        labels: Iterable[str] = ("\\Inbox",),
        *,
        flags: Iterable[str] = (),
        place: Place = Place.ALL,
        thread: int | None = None,
        date: datetime | None = None,
    ) -> int:
        """Let a message arrive in the inbox, or with other labels or none; returns its X-GM-MSGID."""
        with self.changing():
            msgid = next(self._ids)
            moment = date or DATE + timedelta(minutes=len(self.mails))
            mail = Mail(msgid, thread or msgid, data, moment, set(flags), set(), place)
            if place is Place.ALL:
                for label in labels:
                    self.folder_of_label(label)
                    mail.labels.add(label)
                self.star_with(mail, mail.labels, on=True)
            self.mails[msgid] = mail
            self.changed(mail)
            return msgid

    def archive(self, msgid: int) -> None:
        """Take a message out of the inbox."""
        self.unlabel(msgid, "\\Inbox")

    def label(self, msgid: int, *labels: str) -> None:
        """Put labels on a message."""
        with self.changing():
            for label in labels:
                self.folder_of_label(label)
            self.mails[msgid].labels.update(labels)
            self.star_with(self.mails[msgid], labels, on=True)
            self.changed(self.mails[msgid])

    def unlabel(self, msgid: int, *labels: str) -> None:
        """Take labels off a message."""
        with self.changing():
            self.mails[msgid].labels.difference_update(labels)
            self.star_with(self.mails[msgid], labels, on=False)
            self.changed(self.mails[msgid])

    def flag(self, msgid: int, *flags: str) -> None:
        """Set flags, in all mailboxes that show the message."""
        with self.changing():
            self.set_flags(self.mails[msgid], self.mails[msgid].flags | set(flags))

    def unflag(self, msgid: int, *flags: str) -> None:
        """Take flags off."""
        with self.changing():
            self.set_flags(self.mails[msgid], self.mails[msgid].flags - set(flags))

    def trash(self, msgid: int) -> None:
        """Move a message to Trash, which takes all its labels."""
        self.move_to(msgid, Place.TRASH)

    def spam(self, msgid: int) -> None:
        """Report a message as spam."""
        self.move_to(msgid, Place.SPAM)

    def restore(self, msgid: int, *labels: str) -> None:
        """Take a message out of Trash or Spam."""
        with self.changing():
            self.move_to(msgid, Place.ALL)
            self.label(msgid, *labels)

    def delete_for_ever(self, msgid: int) -> None:
        """Delete a message, wherever it is."""
        with self.changing():
            mail = self.mails.pop(msgid)
            for folder in self.folders.values():
                folder.uids.pop(mail.msgid, None)

    def create_label(self, name: str) -> Folder:
        """Make a user's label and with it a mailbox."""
        with self.changing():
            folder = Folder(name, next(self._uidvalidities), label=name)
            self.folders[name] = folder
            return folder

    def delete_label(self, name: str) -> None:
        """Delete a label; the messages stay in All Mail."""
        with self.changing():
            folder = self.folders.pop(name)
            for msgid in folder.uids:
                self.mails[msgid].labels.discard(name)
                self.changed(self.mails[msgid])

    def rename_label(self, old: str, new: str) -> None:
        """Rename a label: the mailbox keeps UIDVALIDITY and UIDs, the messages' labels change."""
        with self.changing():
            folder = self.folders.pop(old)
            folder.name = folder.label = new
            self.folders[new] = folder
            for msgid in folder.uids:
                self.mails[msgid].labels = {new if label == old else label for label in self.mails[msgid].labels}
                self.changed(self.mails[msgid])

    @contextmanager
    def modseq_runs_ahead(self) -> Iterator[None]:
        """Let HIGHESTMODSEQ tell of the changes made in this block before FETCH does; ``catch_up`` ends that."""
        self._running_ahead = True
        try:
            yield
        finally:
            self._running_ahead = False

    def catch_up(self) -> None:
        """Let FETCH tell what HIGHESTMODSEQ has counted."""
        with self.lock:
            for mail, modseq in self._behind.values():
                mail.told = Shown(frozenset(mail.flags), frozenset(mail.labels), modseq)
            self._behind.clear()

    # What the server reads and does.

    @contextmanager
    def changing(self) -> Iterator[None]:
        """Hold the account; the sessions are told when the outermost block has let go of it."""
        with self.lock:
            self._depth += 1
            try:
                yield
            finally:
                self._depth -= 1
                outermost = not self._depth
        if outermost:
            self.on_change()

    def listed(self) -> list[Folder]:
        """Return the mailboxes that IMAP shows."""
        return [folder for folder in self.folders.values() if not (self.all_mail_hidden and folder.place is Place.ALL)]

    def visible(self, folder: Folder) -> dict[int, int]:
        """Return message by UID, ascending: the newest ones where mailboxes are limited to so many."""
        pairs = [(uid, msgid) for msgid, uid in folder.uids.items()]
        return dict(pairs if self.folder_cap is None else pairs[-self.folder_cap :])

    def folder_of_label(self, label: str) -> Folder:
        """Return the mailbox of a label, made on first use as Gmail does."""
        found = [folder for folder in self.folders.values() if folder.label == label]
        return found[0] if found else self.create_label(label)

    def set_flags(self, mail: Mail, flags: set[str]) -> None:
        """Give a message these flags; the star is a label as well."""
        if flags == mail.flags:
            return
        mail.flags = set(flags)
        (mail.labels.add if "\\Flagged" in flags else mail.labels.discard)("\\Starred")
        self.changed(mail)

    def star_with(self, mail: Mail, labels: Iterable[str], *, on: bool) -> None:
        """Keep the flags that are labels as well in step with them."""
        for label in labels:
            if flag := _BY_LABEL.get(label):
                (mail.flags.add if on else mail.flags.discard)(flag)

    def move_to(self, msgid: int, place: Place) -> None:
        """Move a message between All Mail, Spam and Trash; its labels stay behind."""
        with self.changing():
            mail = self.mails[msgid]
            if mail.place is not place:
                mail.place = place
                mail.labels.clear()
                self.changed(mail)

    def expunge(self, folder: Folder, msgid: int) -> None:
        """Do what EXPUNGE does: take the label off, or delete for good in Trash and Spam; All Mail keeps its mail."""
        mail = self.mails[msgid]
        if folder.place in {Place.TRASH, Place.SPAM}:
            self.delete_for_ever(msgid)
            return
        mail.flags.discard("\\Deleted")
        if folder.label is not None:
            mail.labels.discard(folder.label)
            self.star_with(mail, [folder.label], on=False)
        self.changed(mail)

    def add_to(self, folder: Folder, mail: Mail) -> int:
        """Make a message appear in a mailbox as COPY does; returns its UID there."""
        if folder.place is not None:
            self.move_to(mail.msgid, folder.place)
        else:
            if mail.place is not Place.ALL:
                self.move_to(mail.msgid, Place.ALL)
            mail.labels.add(folder.label or "")
            self.star_with(mail, [folder.label or ""], on=True)
            self.changed(mail)
        return folder.uids[mail.msgid]

    def append(self, folder: Folder, data: bytes, flags: set[str], date: datetime | None) -> int:
        """Store a message, or find the one that has these bytes already; returns its UID in the mailbox."""
        with self.changing():
            same = [mail for mail in self.mails.values() if mail.data == data and mail.place is not Place.TRASH]
            if same:
                self.set_flags(same[0], same[0].flags | flags)
                return self.add_to(folder, same[0])
            labels = [folder.label] if folder.label is not None else []
            place = folder.place or Place.ALL
            return folder.uids[self.deliver(data, labels, flags=flags, place=place, date=date)]

    def changed(self, mail: Mail) -> None:
        """Give a change of a message its modseq, and the message its UIDs in the mailboxes that show it now."""
        self._modseq += 1
        self._behind[mail.msgid] = mail, self._modseq
        for folder in self.folders.values():
            if not folder.shows(mail):
                folder.uids.pop(mail.msgid, None)
                continue
            folder.highestmodseq = self._modseq
            if mail.msgid not in folder.uids:
                folder.uids[mail.msgid] = folder.uidnext
                folder.uidnext += 1
        if not self._running_ahead:
            self.catch_up()
