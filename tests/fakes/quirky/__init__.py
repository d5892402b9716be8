"""A small IMAP server that is right in everything but what it is told to get wrong: one switch per row of field notes,
section 2, written from the note and not from the profile that answers it.

It keeps mailboxes, messages, flags and modseqs, and has each connection's state; ``tests/sync/quirks`` lets whole syncs
run against it.
"""
