"""CREATE, DELETE, RENAME and subscriptions upstream."""

from __future__ import annotations

from collections.abc import Callable

from mailcache.errors import NameTaken
from mailcache.models import Mailbox, MailboxRole, Mutation, Remote
from mailcache.names import INBOX, upstream_name
from mailcache.services.settle_names import note_made_again, settle_create, settle_delete, settle_rename
from mailcache.services.settlement import settle_subscription
from mailcache.wire import utf7
from sync.replay.plan import Kind, Step
from sync.replay.work import Numbering, ReplayWork, uidvalidity_of
from sync.upstream.errors import CommandRefused, Severity
from sync.upstream.values import ListedMailbox

_ANOTHER = "the upstream has another mailbox of this name: it was not deleted"
_UNSEEN = "the mailbox holds mail that has not been seen here: it was not deleted"
_USES = {role.value: role.label for role in MailboxRole if role not in (MailboxRole.NONE, MailboxRole.INBOX)}


def replay_mailbox(work: ReplayWork, step: Step) -> None:
    """Make one change of mailbox names or subscriptions."""
    (member,) = step.members
    mutation = Mutation.objects.select_related("mailbox").filter(pk=member.id).first()
    if mutation is None or mutation.mailbox is None:
        return
    work.pace()
    try:
        _CHANGES[step.kind](work, mutation, mutation.mailbox)
    except CommandRefused as error:
        work.refused(step.members, error)
    except NameTaken as error:
        work.park(step.members, str(error))


def _create(work: ReplayWork, mutation: Mutation, mailbox: Mailbox) -> None:
    name = spelled(work, mutation.arguments["name"])
    client = work.upstream.client
    use = _USES.get(mutation.arguments.get("role", ""), "")
    try:
        client.create(name, use=use)
    except CommandRefused:
        if not _listed(work, name):
            if not use:
                raise
            # Another mailbox has that use (USEATTR, RFC 6154 6), or none may be given.
            client.create(name)
    # Before it settles: nobody would do it afterwards.
    if mailbox.subscribed:
        _tell_subscribed(work, name, subscribed=True)
    settle_create(fence=work.fence, mutation_id=mutation.pk, upstream_name=name, delimiter=delimiter_of(work))


def _rename(work: ReplayWork, mutation: Mutation, mailbox: Mailbox) -> None:
    before = bytes(mailbox.upstream_name or b"")
    after = spelled(work, mutation.arguments["to"])
    _leave(work)
    try:
        work.upstream.client.rename(before, after)
    except CommandRefused:
        # The answer to an earlier one may have been lost.
        if _listed(work, before) or not _listed(work, after):
            raise
    if mailbox.subscribed:
        _tell_subscribed(work, after, subscribed=True)
        _tell_subscribed(work, before, subscribed=False)
    settle_rename(fence=work.fence, mutation_id=mutation.pk, upstream_name=after)


def _delete(work: ReplayWork, mutation: Mutation, mailbox: Mailbox) -> None:
    name = bytes(mailbox.upstream_name or b"")
    client = work.upstream.client
    listed = _listed(work, name)
    # Without a label its messages stay in All Mail: nothing is lost with it.
    if listed is not None and _selectable(listed) and not mailbox.label:
        _check_known(work, mailbox, name)
    _leave(work)
    if listed is not None:
        try:
            client.delete(name)
        except CommandRefused:
            if _listed(work, name):
                raise
    settle_delete(fence=work.fence, mutation_id=mutation.pk)


def _check_known(work: ReplayWork, mailbox: Mailbox, name: bytes) -> None:
    """Raise ``NameTaken`` for a mailbox that may be another one, or that holds mail that nobody here has seen."""
    uidvalidity = uidvalidity_of(work.upstream.examine(name), mailbox)
    if mailbox.upstream_uidvalidity not in (None, uidvalidity):
        raise NameTaken(_ANOTHER)
    rows = Remote.objects.numbered(work.account.pk, mailbox.pk, uidvalidity)
    known = set(rows.values_list("uid", flat=True))
    if not known.issuperset(work.upstream.client.uid_search(b"ALL")):
        raise NameTaken(_UNSEEN)


def _subscribe(work: ReplayWork, mutation: Mutation, mailbox: Mailbox) -> None:
    name = bytes(mailbox.upstream_name or b"")
    try:
        work.upstream.client.subscribe(name, subscribed=mutation.kind == Kind.SUBSCRIBE.value)
    except CommandRefused as error:
        if error.severity in (Severity.ACCOUNT, Severity.TRANSIENT):
            raise
        # Our clients see what they subscribed to here; an upstream that has no subscriptions loses nobody's mail.
        settle_subscription(fence=work.fence, mutation_id=mutation.pk, note=str(error))
        return
    settle_subscription(fence=work.fence, mutation_id=mutation.pk)


def make_again(work: ReplayWork, mailbox: Mailbox) -> bool:
    """Make a mailbox again that somebody deleted upstream while mail for it waited here; True if it is there then."""
    name = bytes(mailbox.upstream_name or b"")
    try:
        work.upstream.client.create(name)
    except CommandRefused:
        return _listed(work, name) is not None
    note_made_again(fence=work.fence, mailbox_id=mailbox.pk)
    return True


def target_numbering(work: ReplayWork, target: Mailbox) -> Numbering:
    """Return what the next message of a target will be called; one that somebody deleted upstream is made again."""
    try:
        return work.numbering(target)
    except CommandRefused as error:
        # Dovecot goes on listing a mailbox that was deleted above others, and gives no code for that it is not there.
        may_be_there = bool(error.code) and _listed(work, bytes(target.upstream_name or b"")) is not None
        if (may_be_there and not is_missing(error)) or not make_again(work, target):
            raise
    return work.numbering(target)


def is_missing(error: CommandRefused) -> bool:
    """Tell whether a command was refused because the mailbox is not there."""
    return error.code in ("TRYCREATE", "NONEXISTENT")


def spelled(work: ReplayWork, name: str) -> bytes:
    """Return what a mailbox of ours is called upstream."""
    if work.prefix is None:
        personal = work.upstream.client.namespaces().personal
        work.prefix = personal[0].prefix if personal else ""
    return utf7.encode(upstream_name(name, delimiter=delimiter_of(work), prefix=work.prefix))


def delimiter_of(work: ReplayWork) -> str:
    """Return what separates the levels of names upstream."""
    inbox = Mailbox.objects.filter(account_id=work.account.pk, name=INBOX).first()
    return inbox.upstream_delimiter if inbox is not None else "/"


def _listed(work: ReplayWork, name: bytes) -> ListedMailbox | None:
    """Return a mailbox as the upstream lists it; INBOX in any case."""
    found = work.upstream.client.list_mailboxes(b"", name)
    return next((entry for entry in found if entry.name_raw == name and "\\NonExistent" not in entry.attributes), None)


def _selectable(entry: ListedMailbox) -> bool:
    return "\\Noselect" not in entry.attributes


def _leave(work: ReplayWork) -> None:
    """Have no mailbox open that is to be renamed or deleted: some servers refuse that, some break off."""
    if work.upstream.client.selected is not None:
        work.upstream.select(b"INBOX")


def _tell_subscribed(work: ReplayWork, name: bytes, *, subscribed: bool) -> None:
    """Have the upstream's other clients see a mailbox as ours do, as far as it takes part in that."""
    try:
        work.upstream.client.subscribe(name, subscribed=subscribed)
    except CommandRefused as error:
        if error.severity == Severity.ACCOUNT:
            raise


_CHANGES: dict[Kind, Callable[[ReplayWork, Mutation, Mailbox], None]] = {
    Kind.CREATE: _create,
    Kind.DELETE: _delete,
    Kind.RENAME: _rename,
    Kind.SUBSCRIBE: _subscribe,
    Kind.UNSUBSCRIBE: _subscribe,
}
