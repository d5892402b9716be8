"""What is agreed with an upstream once, right after login: ID, compression, ENABLE."""

from __future__ import annotations

from sync.upstream.errors import CommandRefused
from sync.upstream.protocol.requests import Steps
from sync.upstream.protocol.responses import Untagged, readable
from sync.upstream.protocol.session import Handlers, Session

_ID = {"name": b'("name" "imapped")', "nil": b"NIL"}
_COMPRESS = "COMPRESS=DEFLATE"
_MOST_SAID = 2_000


def identify(session: Session) -> Steps[None]:
    """Say who we are, and keep what the upstream says it is. Some open no mailbox for strangers (quirk 28)."""
    always = session.profile.id_always
    if not always and not session.offers("ID"):
        return

    def untagged(response: Untagged) -> bool:
        if response.name != b"ID":
            return False
        session.said = f"{session.said} {session.redacted(readable(response.scanner().rest()))}"[:_MOST_SAID]
        return True

    try:
        yield from session.command("ID", _ID[session.profile.id_arguments], Handlers(untagged=untagged))
    except CommandRefused as error:
        if not always:
            session.refuse("ID", error)


def compress(session: Session) -> Steps[None]:
    """Turn compression on where it is offered (RFC 4978)."""
    if not session.offers(_COMPRESS):
        return
    try:
        yield from session.command("COMPRESS", b"DEFLATE")
    except CommandRefused as error:
        session.refuse(_COMPRESS, error)
    else:
        session.start_compression()


def enable(session: Session) -> Steps[None]:
    """Enable QRESYNC (with CONDSTORE) and, where the profile wants it, UIDONLY.

    What ENABLED does not name is not used, whatever the tagged response says (quirk 22).
    """
    wanted = ["CONDSTORE", "QRESYNC"] if session.offers("QRESYNC") else []
    wanted = [name for name in wanted if session.offers(name)]
    if session.profile.uidonly and session.offers("UIDONLY"):
        wanted.append("UIDONLY")
    if not wanted or not session.offers("ENABLE"):
        return
    named: set[str] = set()

    def untagged(response: Untagged) -> bool:
        if response.name != b"ENABLED":
            return False
        named.update(response.scanner().rest().decode("ascii", "replace").upper().split())
        # Answers to what follows on the same connection have the new form at once.
        session.enabled |= named & set(wanted)
        return True

    try:
        yield from session.command("ENABLE", " ".join(wanted).encode("ascii"), Handlers(untagged=untagged))
    except CommandRefused as error:
        session.refuse("ENABLE", error)
    else:
        session.refused.update(set(wanted) - named - {"CONDSTORE"})


def probe(session: Session) -> Steps[None]:
    """Find out whether a login that succeeded did: Office 365 tells only with the next command (quirk 11)."""
    try:
        yield from session.command("NAMESPACE")
    except CommandRefused:
        return  # it works at all, which is what was asked
