"""Provider profiles: what known servers get wrong, and the limits that they set, as data. Pure.

A profile is chosen by the host of the account or, where the host tells nothing, by what the server calls itself in ID
or its greeting; an operator may name another one (``Account.profile``). What behaves differently for a provider
reads a field of its profile: there are no branches by name. Numbers in comments are rows of the quirk table in
``field-notes.md`` section 2.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

_MEGABYTE = 1_000_000
_MINUTE = 60.0


@dataclass(frozen=True, slots=True)
class Profile:
    """How to treat one kind of upstream. The defaults are those of a server that nothing is known of."""

    name: str
    title: str
    hosts: tuple[str, ...] = ()
    """Suffixes of host names, without the leading dot."""
    says: tuple[str, ...] = ()
    """Texts in the ID response or the greeting, in lower case, that give the server away."""

    masked: frozenset[str] = frozenset()
    """Capabilities that are advertised and must not be used."""
    id_arguments: Literal["name", "nil"] = "name"
    """What ID tells: our name, or NIL."""
    id_always: bool = False
    """Send ID before the first SELECT even where it is not advertised."""
    probe_login: bool = False
    """A login that says OK proves nothing: NAMESPACE does."""
    uidonly: bool = False
    """ENABLE UIDONLY, without which only part of a large mailbox is shown."""

    idle: bool = True
    idle_seconds: float = 9 * _MINUTE
    """How long one IDLE lasts before it is renewed."""
    noop_between_idles: bool = False
    """IDLE alone does not keep a connection alive: NOOP before it is renewed does."""
    poll_seconds: float = 5 * _MINUTE
    """How often a watched mailbox is asked for where it cannot be idled on."""
    poll_with: Literal["noop", "status", "select"] = "noop"
    """Which command shows what is new."""

    pipelines: bool = True
    """A command may be sent right behind DONE, or before the answer to EXAMINE."""

    connections: int | None = None
    """Most connections for one account, whatever the setting says; the user's own clients share them."""
    host_connections: int | None = None
    """Most connections of the whole fleet to one host."""
    daily_bytes: int | None = None
    """Octets of bodies that are fetched ahead per day."""
    throttle: bool = False
    """Slows down before it refuses: pauses between commands grow when it does."""

    labels: bool = False
    """Mailboxes are labels (X-GM-EXT-1): bytes come from All Mail, Spam and Trash."""
    overlap_modseq: bool = False
    """HIGHESTMODSEQ may move before the change can be seen: read from the one before."""
    trust_vanished: bool = True
    """VANISHED may be believed without a look at the UIDs that are there."""
    select_to_read: bool = False
    """EXAMINE lies: SELECT."""
    exact_sizes: bool = True
    """RFC822.SIZE is the size of what FETCH BODY[] gives."""
    size_sweeps: bool = True
    """RFC822.SIZE of many messages is cheap. Where not, it is asked of new messages alone."""
    status_mailbox_id: bool = True
    """STATUS may be asked for MAILBOXID. Where not, EXAMINE alone tells it."""
    uid_search_all: bool = True
    """UID SEARCH ALL works. Where not, UIDs are listed by FETCH."""
    largest_fetch: int = 500
    """Messages in one FETCH."""
    wide_ranges: bool = True
    """A range may span UIDs by the thousand. Where not, it names messages that are there, ``largest_fetch`` of them."""
    verify_bodies: bool = False
    """FETCH has been seen to return another message than was asked for: the header is compared."""

    rev2: bool = False
    """IMAP4rev2 may be used where it is advertised."""
    files_sent_mail: bool = False
    """What is sent by SMTP is filed in Sent by the server, so a client's APPEND there would double it."""
    rewrites_bytes: bool = False
    """What was appended may read differently afterwards."""
    drops_appended_flags: bool = False
    """Flags given with APPEND may be lost: they are stored once more."""
    deduplicates: bool = False
    """An APPEND of bytes that are there already gives the message that is there."""
    writes_per_second: float | None = None
    """Most commands per second that change something."""


_QRESYNC = frozenset({"QRESYNC"})

GENERIC = Profile("generic", "any IMAP server")

PROFILES: tuple[Profile, ...] = (
    # 1-9
    Profile(
        "gmail", "Gmail", hosts=("imap.gmail.com", "imap.googlemail.com"), says=("gimap",),
        labels=True, overlap_modseq=True, connections=5, daily_bytes=2_000 * _MEGABYTE, throttle=True,
        idle_seconds=9 * _MINUTE, files_sent_mail=True, deduplicates=True,
    ),
    # 10-20
    Profile(
        "office365", "Office 365, Exchange", hosts=("outlook.office365.com", "office365.com", "outlook.com",
        "imap-mail.outlook.com", "partner.outlook.cn"), says=("microsoft.exchange", "microsoft exchange"),
        masked=frozenset({"IMAP4REV2"}), id_arguments="nil", probe_login=True, idle_seconds=20 * _MINUTE,
        noop_between_idles=True, exact_sizes=False, files_sent_mail=True, rewrites_bytes=True, writes_per_second=1.0,
        throttle=True, drops_appended_flags=True,
    ),
    # 21-24
    Profile(
        "icloud", "iCloud", hosts=("imap.mail.me.com",), says=("icloud",),
        masked=_QRESYNC, trust_vanished=False, throttle=True,
    ),
    # 25-27
    Profile(
        "yahoo", "Yahoo, AOL", hosts=("imap.mail.yahoo.com", "imap.aol.com", "yahoo.com", "aol.com"),
        says=("yahoo", "aol"),
        uidonly=True, idle_seconds=3 * _MINUTE, wide_ranges=False, verify_bodies=True, throttle=True,
    ),
    Profile(
        "yahoojp", "Yahoo Japan", hosts=("imap.mail.yahoo.co.jp",),
        masked=frozenset({"MOVE"}), idle_seconds=3 * _MINUTE, wide_ranges=False, verify_bodies=True, throttle=True,
    ),
    # 28
    Profile(
        "coremail", "163, 126, Yeah (Coremail)", hosts=("imap.163.com", "imap.126.com", "imap.yeah.net"),
        says=("coremail",),
        id_always=True, idle=False, poll_with="status", poll_seconds=55.0,
    ),
    # 29
    Profile("rambler", "Rambler", hosts=("imap.rambler.ru",), idle_seconds=55.0),
    # 30
    Profile("naver", "Naver", hosts=("imap.naver.com",), idle=False, poll_with="select", poll_seconds=_MINUTE),
    # 31
    Profile("lark", "Lark", hosts=("imap.larksuite.com", "imap.feishu.cn")),
    # 32
    Profile("qq", "QQ", hosts=("imap.qq.com", "imap.exmail.qq.com"), id_always=True, exact_sizes=False),
    # 33
    Profile("zoho", "Zoho", hosts=("imap.zoho.com", "imap.zoho.eu", "imappro.zoho.com"), connections=4),
    Profile("mailru", "Mail.ru", hosts=("imap.mail.ru",), exact_sizes=False),
    Profile("wppl", "wp.pl", hosts=("imap.wp.pl",), idle_seconds=3 * _MINUTE, pipelines=False),
    Profile("yandex", "Yandex", hosts=("imap.yandex.ru", "imap.yandex.com"), connections=4, throttle=True),
    # 34
    Profile(
        "gmx", "GMX, web.de, Ionos", hosts=("imap.gmx.net", "imap.gmx.com", "imap.web.de", "imap.ionos.de",
        "imap.ionos.com", "imap.1und1.de"), idle_seconds=12 * _MINUTE,
    ),
    # 35
    Profile("fastmail", "Fastmail", hosts=("imap.fastmail.com",), idle_seconds=25 * _MINUTE),
    # Cyrus 3.6 answers STATUS (MAILBOXID) with bytes of freed memory, line ends among them.
    Profile("cyrus", "Cyrus", says=("cyrus",), status_mailbox_id=False, idle_seconds=25 * _MINUTE),
    # 36
    Profile("dovecot", "Dovecot", says=("dovecot",), idle_seconds=25 * _MINUTE, connections=8),
    # 37
    Profile("zimbra", "Zimbra", says=("zimbra",), masked=_QRESYNC),
    # 38
    Profile("courier", "Courier", says=("courier",), select_to_read=True, idle_seconds=9 * _MINUTE),
    # 39
    Profile("davmail", "DavMail", says=("davmail",), size_sweeps=False, exact_sizes=False, largest_fetch=100),
    Profile("proton", "Proton Bridge", says=("proton", "gluon"), rewrites_bytes=True, deduplicates=True),
    # 40
    Profile("hmail", "hMailServer", says=("hmailserver",), uid_search_all=False, idle=False, poll_seconds=_MINUTE),
    Profile("mail2world", "Mail2World", hosts=("imap.mail2world.com",), says=("mail2world",), uid_search_all=False),
    Profile("groupwise", "GroupWise", says=("groupwise",), uid_search_all=False),
    Profile("domino", "Domino", says=("domino",), exact_sizes=False, uid_search_all=False),
    Profile("smartermail", "SmarterMail", says=("smartermail",), uid_search_all=False),
)  # fmt: skip

BY_NAME = {profile.name: profile for profile in (GENERIC, *PROFILES)}


def choose_profile(*, host: str, chosen: str = "", detected: str = "") -> Profile:
    """Return an account's profile: the operator's choice, else by host, else what was detected, else ``GENERIC``."""
    if chosen in BY_NAME:
        return BY_NAME[chosen]
    found = _by_host(host)
    return found if found is not None else BY_NAME.get(detected, GENERIC)


def detect_profile(said: str) -> Profile:
    """Return the profile of a server by what its greeting and ID response say; ``GENERIC`` where they say nothing."""
    lower = said.lower()
    return next((profile for profile in PROFILES if any(text in lower for text in profile.says)), GENERIC)


def _by_host(host: str) -> Profile | None:
    name = host.lower().rstrip(".")
    candidates = [
        (len(suffix), profile)
        for profile in PROFILES
        for suffix in profile.hosts
        if name == suffix or name.endswith("." + suffix)
    ]
    return max(candidates, key=lambda candidate: candidate[0])[1] if candidates else None
