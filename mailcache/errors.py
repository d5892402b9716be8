"""The domain's exception tree. ``imapfront`` maps each class once to an IMAP response code."""

from __future__ import annotations


class MailcacheError(Exception):
    """Anything the domain refuses; the text is fit to be shown to a person."""


class NoSuchMailbox(MailcacheError):
    """The mailbox does not exist, or is not this user's."""


class MailboxNotSelectable(MailcacheError):
    """A name in the hierarchy that holds no messages (``\\Noselect``)."""


class NameTaken(MailcacheError):
    """A user, account or mailbox of that name exists already."""


class InvalidValue(MailcacheError):
    """A value that cannot be stored, told with what was expected."""


class NoTrash(InvalidValue):
    """Messages that go to Trash, where the upstream shows none."""


class BytesNotHere(MailcacheError):
    """The message's bytes have not been fetched from the upstream yet (``[UNAVAILABLE]``)."""


class MessagesGone(MailcacheError):
    """Some of the messages no longer exist, and nothing was done to the others (``[EXPUNGEISSUED]``)."""


class LeaseLost(MailcacheError):
    """The caller's lease on the account has passed to somebody else; nothing was written."""


class SealBroken(MailcacheError):
    """A sealed secret cannot be opened with the configured keys."""


class SegmentMissing(MailcacheError):
    """The stored object that should hold a message's bytes is not there."""


class SegmentUnavailable(MailcacheError):
    """The store of messages' bytes does not answer, or fails; what it holds may be read later (``[UNAVAILABLE]``)."""


class OverQuota(MailcacheError):
    """The account's quota does not allow so many more bytes (``[OVERQUOTA]``)."""


class TooBig(MailcacheError):
    """A message is larger than any that this server takes (``[TOOBIG]``)."""


class StaleList(MailcacheError):
    """The upstream's list of mailboxes was read before one of our changes to it had arrived there."""
