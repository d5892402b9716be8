"""The fake Gmail's commands on connections and mailboxes; a handler returns the text that follows ``OK``."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING

from mailcache.wire import utf7
from mailcache.wire.number_set import SequenceSet
from mailcache.wire.scanner import Scanner
from mailcache.wire.strings import render_string
from tests.fakes.gmail.mail import Folder, Refusal

if TYPE_CHECKING:
    from tests.fakes.gmail.session import Session

Handler = Callable[["Session", Scanner], bytes]

_BEFORE_LOGIN = b"IMAP4rev1 UNSELECT IDLE NAMESPACE QUOTA ID XLIST CHILDREN X-GM-EXT-1 XYZZY SASL-IR"
_CAPABILITIES = (
    b"IMAP4rev1 UNSELECT IDLE NAMESPACE QUOTA ID XLIST CHILDREN X-GM-EXT-1 UIDPLUS ENABLE MOVE CONDSTORE ESEARCH "
    b"UTF8=ACCEPT LIST-EXTENDED LIST-STATUS LITERAL- SPECIAL-USE APPENDLIMIT=35651584"
)
_FLAGS = b"\\Answered \\Flagged \\Draft \\Deleted \\Seen $NotPhishing $Phishing"


def _capability(session: Session, scan: Scanner) -> bytes:
    session.send(b"* CAPABILITY " + (_CAPABILITIES if session.logged_in else _BEFORE_LOGIN))
    return b"Thats all she wrote! (Success)"


def _login(session: Session, scan: Scanner) -> bytes:
    user = scan.astring()
    scan.space()
    if (user.decode(), scan.astring().decode()) != session.server.credentials:
        raise Refusal("NO [AUTHENTICATIONFAILED] Invalid credentials (Failure)")
    if not session.server.may_log_in():
        raise Refusal("NO [ALERT] Too many simultaneous connections. (Failure)")
    session.logged_in = True
    session.send(b"* CAPABILITY " + _CAPABILITIES)
    return user + b" authenticated (Success)"


def _logout(session: Session, scan: Scanner) -> bytes:
    session.send(b"* BYE LOGOUT Requested")
    session.closing = True
    return b"73 good day (Success)"


def _noop(session: Session, scan: Scanner) -> bytes:
    session.tell_changes()
    return b"Success"


def _id(session: Session, scan: Scanner) -> bytes:
    session.send(b'* ID ("name" "GImap" "vendor" "Google, Inc." "support-url" "http://support.google.com/mail")')
    return b"Success"


def _enable(session: Session, scan: Scanner) -> bytes:
    asked = scan.rest().upper().split()
    if b"CONDSTORE" in asked:
        session.condstore = True
    session.send(b" ".join([b"* ENABLED", *(word for word in asked if word in {b"CONDSTORE", b"UTF8=ACCEPT"})]))
    return b"Success"


def _namespace(session: Session, scan: Scanner) -> bytes:
    session.send(b'* NAMESPACE (("" "/")) NIL NIL')
    return b"Success"


def _quota_root(session: Session, scan: Scanner) -> bytes:
    name = render_string(scan.astring())
    session.send(b"* QUOTAROOT " + name + b' ""')
    session.send(b'* QUOTA "" (STORAGE 1024 15728640)')
    return b"Success"


def _list(session: Session, scan: Scanner) -> bytes:
    if scan.skip(b"("):
        scan.atom_of(b"\\ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz- ")
        scan.expect(b") ")
    reference = utf7.decode(scan.astring())
    scan.space()
    pattern = utf7.decode(scan.string() if scan.peek() == b'"' else scan.list_atom())
    asked = scan.rest().upper()
    for folder in session.account.listed():
        if not _matches(folder.name, reference + pattern):
            continue
        session.send(b'* LIST (%b) "/" %b' % (_attributes(session, folder), _spelled(folder)))
        if b"STATUS (" in asked and folder.selectable:
            items = asked.partition(b"STATUS (")[2].partition(b")")[0].split()
            session.send(_status_of(session, folder, items))
    return b"Success"


def _attributes(session: Session, folder: Folder) -> bytes:
    children = any(other.name.startswith(folder.name + "/") for other in session.account.listed())
    return " ".join((*folder.attributes, "\\HasChildren" if children else "\\HasNoChildren")).encode()


def _matches(name: str, pattern: str) -> bool:
    parts = [{"*": ".*", "%": "[^/]*"}.get(character, re.escape(character)) for character in pattern]
    return re.fullmatch("".join(parts), name) is not None


def _status(session: Session, scan: Scanner) -> bytes:
    folder = folder_named(session, scan.astring())
    scan.space()
    session.send(_status_of(session, folder, scan.rest().strip(b"()").upper().split()))
    return b"Success"


def _status_of(session: Session, folder: Folder, items: list[bytes]) -> bytes:
    mails = [session.account.mails[msgid] for msgid in session.account.visible(folder).values()]
    values = {
        b"MESSAGES": len(mails),
        b"RECENT": 0,
        b"UIDNEXT": folder.uidnext,
        b"UIDVALIDITY": folder.uidvalidity,
        b"UNSEEN": sum("\\Seen" not in mail.told.flags for mail in mails),
        b"HIGHESTMODSEQ": folder.highestmodseq,
    }
    told = b" ".join(item + b" %d" % values[item] for item in items if item in values)
    return b"* STATUS %b (%b)" % (_spelled(folder), told)


def _select(session: Session, scan: Scanner) -> bytes:
    return _open(session, scan, read_only=False)


def _examine(session: Session, scan: Scanner) -> bytes:
    return _open(session, scan, read_only=True)


def _open(session: Session, scan: Scanner, *, read_only: bool) -> bytes:
    session.open(None)
    folder = folder_named(session, scan.astring())
    if b"(CONDSTORE)" in scan.rest().upper():
        session.condstore = True
    session.open(folder, read_only=read_only)
    session.send(b"* FLAGS (" + _FLAGS + b")")
    session.send(b"* OK [PERMANENTFLAGS (" + (b"" if read_only else _FLAGS + b" \\*") + b")] Flags permitted.")
    session.send(b"* OK [UIDVALIDITY %d] UIDs valid." % folder.uidvalidity)
    session.send(b"* %d EXISTS" % len(session.view))
    session.send(b"* 0 RECENT")
    session.send(b"* OK [UIDNEXT %d] Predicted next UID." % folder.uidnext)
    # Without the text that the grammar asks for (quirk 3).
    session.send(b"* OK [HIGHESTMODSEQ %d]" % folder.highestmodseq)
    return b"[%b] %b selected. (Success)" % (b"READ-ONLY" if read_only else b"READ-WRITE", _spelled(folder))


def _unselect(session: Session, scan: Scanner) -> bytes:
    session.open(None)
    return b"Success"


def _create(session: Session, scan: Scanner) -> bytes:
    name = utf7.decode(scan.astring())
    if name in session.account.folders:
        raise Refusal("NO [ALREADYEXISTS] Duplicate folder name (Failure)")
    session.account.create_label(name)
    return b"Success"


def _delete(session: Session, scan: Scanner) -> bytes:
    session.account.delete_label(_user_label(session, scan.astring()))
    return b"Success"


def _rename(session: Session, scan: Scanner) -> bytes:
    old = _user_label(session, scan.astring())
    scan.space()
    session.account.rename_label(old, utf7.decode(scan.astring()))
    return b"Success"


def _subscribe(session: Session, scan: Scanner) -> bytes:
    folder_named(session, scan.astring())
    return b"Success"


def _user_label(session: Session, raw: bytes) -> str:
    folder = folder_named(session, raw)
    if folder.label != folder.name:
        raise Refusal("NO [CANNOT] System folder (Failure)")
    return folder.name


def folder_named(session: Session, raw: bytes, *, code: str = "NONEXISTENT") -> Folder:
    """Return the mailbox of this name that can be opened; refuses the command where there is none."""
    name = utf7.decode(raw)
    wanted = "INBOX" if name.upper() == "INBOX" else name
    for folder in session.account.listed():
        if folder.name == wanted and folder.selectable:
            return folder
    raise Refusal(f"NO [{code}] Unknown Mailbox: {name} (Failure)")


def numbers(raw: bytes, largest: int) -> Callable[[int], bool]:
    """Return whether a number is in a sequence set; ``*`` is ``largest``."""
    return SequenceSet.parse(raw).resolve(largest).__contains__


def _spelled(folder: Folder) -> bytes:
    return render_string(utf7.encode(folder.name))


HANDLERS: dict[str, Handler] = {
    "CAPABILITY": _capability, "LOGIN": _login, "LOGOUT": _logout, "NOOP": _noop, "CHECK": _noop, "ID": _id,
    "ENABLE": _enable, "NAMESPACE": _namespace, "GETQUOTAROOT": _quota_root, "LIST": _list, "XLIST": _list,
    "STATUS": _status, "SELECT": _select, "EXAMINE": _examine, "UNSELECT": _unselect, "CREATE": _create,
    "DELETE": _delete, "RENAME": _rename, "SUBSCRIBE": _subscribe, "UNSUBSCRIBE": _subscribe,
}  # fmt: skip
