"""The server: each command's answer, and what the switches make of it."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable

from mailcache.wire.number_set import NumberSet
from tests.fakes.quirky.box import Box, Connection, Mail
from tests.fakes.quirky.opening import opening
from tests.fakes.quirky.quirks import Quirk
from tests.fakes.quirky.rows import Rows
from tests.fakes.scripted_imap import Action, Answer, ScriptedImap
from tests.sync.mirror import Messages

OFFERED = b"IMAP4rev1 NAMESPACE IDLE ENABLE ESEARCH CONDSTORE LIST-EXTENDED SPECIAL-USE"
SHOWN = 20
"""So many messages Yahoo shows to whoever counts them."""
_OK = b"{tag} OK done\r\n"
_HURRY_SECONDS = 0.03
_AHEAD_SECONDS = 0.2
_LONGEST_LINE = 8_000
_WIDEST_RANGE = 2_000
_DEAR_SIZES = 100
_CONNECTIONS = 2


class QuirkyImap(ScriptedImap):
    """Answers for ``mailboxes``, by their names on the wire, with these ``quirks``."""

    def __init__(self, *quirks: Quirk, offered: bytes = OFFERED) -> None:
        self.quirks = frozenset(quirks)
        self.offered = offered
        self.mailboxes: dict[bytes, Box] = {b"INBOX": Box()}
        self.told: dict[str, int] = defaultdict(int)
        """How often something was done that is done differently the next time."""
        self.hung_up: list[bytes] = []
        """What was sent that no well-behaved client sends."""
        self._state: dict[int, Connection] = defaultdict(Connection)
        rewritten = b" [CAPABILITY IMAP4rev1 QRESYNC CONDSTORE ESEARCH LIST-STATUS LIST-EXTENDED]"
        greeting = rewritten if self.has(Quirk.CAPABILITY_REWRITTEN_21) else b""
        super().__init__(greeting=b"* OK%s ready\r\n" % greeting)
        self._commands: dict[str, Callable[[bytes], Answer]] = {
            "CAPABILITY": self._capability, "LOGIN": self._login, "ID": self._id, "ENABLE": self._enable,
            "NAMESPACE": self._namespace, "LIST": self._list, "STATUS": self._status, "SELECT": self._select,
            "EXAMINE": self._select, "UID SEARCH": self._search, "UID FETCH": self._fetch, "NOOP": self._noop,
            "IDLE": self._idle, "DONE": self._done,
        }  # fmt: skip

    @property
    def inbox(self) -> Box:
        """The first mailbox."""
        return self.mailboxes[b"INBOX"]

    def has(self, quirk: Quirk) -> bool:
        """Tell whether a switch is on."""
        return quirk in self.quirks

    def asked(self, *words: bytes) -> list[bytes]:
        """Return the commands in which all of these words stand."""
        return [command for command in list(self.commands) if all(word in command for word in words)]

    def holds(self) -> Messages:
        """Return what a mirror of it should hold."""
        return {
            name.decode(): [(mail.data, mail.flags) for mail in box.messages.values()]
            for name, box in self.mailboxes.items()
        }

    def _first_times(self, what: str, count: int = 1) -> bool:
        self.told[what] += 1
        return self.told[what] <= count

    @property
    def _now(self) -> Connection:
        return self._state[self.number_of_connection]

    def offers(self, name: bytes) -> bool:
        """Tell whether an extension is offered on this connection."""
        return name in self._offered().split()

    def _offered(self) -> bytes:
        if self.has(Quirk.OTHER_CAPABILITIES_45) and self.number_of_connection % 2 == 0:
            return b"IMAP4rev1"
        return self.offered + (b" IMAP4rev2" if self.has(Quirk.REV2_BREAKS_13) else b"")

    def _hang_up(self, why: bytes) -> Answer:
        self.hung_up.append(self.command)
        return (b"* BYE %s\r\n" % why, Action.DROP)

    def _next_answer(self, name: str) -> Answer:
        # The tag and the blanks of the line count too.
        if self.has(Quirk.LONG_LINES_18) and len(self.command) + 8 > _LONGEST_LINE:
            return self._hang_up(b"line too long")
        if self.has(Quirk.UNAVAILABLE_23) and self._first_times("unavailable"):
            return self._hang_up(b"Service temporarily unavailable")
        if self.has(Quirk.NOT_CONNECTED_11) and self._now.logged_in and name not in ("CAPABILITY", "ID", "LOGOUT"):
            return b"{tag} BAD User is authenticated but not connected.\r\n"
        if self.has(Quirk.THROTTLED_TEXT_5) and self._now.logged_in:
            return self._throttled(name)
        return self._answer_of(name)

    def _throttled(self, name: str) -> Answer:
        if time.monotonic() - self._now.throttled_at < _HURRY_SECONDS:
            return self._hang_up(b"Session expired")
        answer = self._answer_of(name)
        if not isinstance(answer, bytes) or not self._first_times("throttled", 3):
            return answer
        self._now.throttled_at = time.monotonic()
        return answer.replace(b" OK done", b" OK done [THROTTLED]")

    def _answer_of(self, name: str) -> Answer:
        command = self._commands.get(name)
        arguments = self.command.partition(b" ")[2]
        answer = super()._next_answer(name) if command is None else command(arguments)
        if self.has(Quirk.NUL_PADDING_43) and isinstance(answer, bytes):
            return answer.replace(b"\n{tag}", b"\n\0{tag}")
        return answer

    # Before a mailbox is open

    def _capability(self, _arguments: bytes) -> Answer:
        offered = self._offered()
        if self.has(Quirk.CAPABILITY_REWRITTEN_21) and not self._now.logged_in:
            offered += b" QRESYNC LIST-STATUS"
        return b"* CAPABILITY %s\r\n" % offered + _OK

    def _login(self, _arguments: bytes) -> Answer:
        if self.has(Quirk.FEW_CONNECTIONS_36) and self._connections_open() > _CONNECTIONS:
            return b"{tag} NO [LIMIT] Maximum number of connections from user+IP exceeded\r\n"
        self._now.logged_in = True
        if self.has(Quirk.CAPABILITY_REWRITTEN_21):
            return b"{tag} OK [CAPABILITY IMAP4rev1 QRESYNC CONDSTORE LIST-STATUS LIST-EXTENDED] welcome\r\n"
        return _OK

    def _connections_open(self) -> int:
        return sum(1 for opened in self._open if opened.fileno() != -1)

    def _id(self, arguments: bytes) -> Answer:
        if self.has(Quirk.ID_LIST_17) and arguments != b"NIL":
            return self._hang_up(b"Command Argument Error. 11")
        self._now.identified = True
        return b"* ID NIL\r\n" + _OK

    def _enable(self, arguments: bytes) -> Answer:
        if not self.offers(b"ENABLE") or self.has(Quirk.REJECTS_OFFERED_42):
            return b"{tag} BAD ENABLE\r\n"
        if self.has(Quirk.NOT_ENABLED_22):
            return _OK
        named = [name for name in arguments.split() if self.offers(name)]
        self._now.enabled |= set(named)
        return b"* ENABLED %s\r\n" % b" ".join(named) + _OK

    def _namespace(self, _arguments: bytes) -> Answer:
        if not self.offers(b"NAMESPACE"):
            return b"{tag} BAD NAMESPACE\r\n"
        shared = b'(("Shared/" "/"))' if self.has(Quirk.SHARED_ROOT_36) else b"NIL"
        return b'* NAMESPACE (("" "/")) NIL %s\r\n' % shared + _OK

    def _list(self, arguments: bytes) -> Answer:
        options = arguments.partition(b"RETURN")[2]
        if options and not self.offers(b"LIST-EXTENDED"):
            return self._hang_up(b"what is RETURN?")
        if options and self.has(Quirk.REJECTS_OFFERED_42):
            return b"{tag} BAD RETURN\r\n"
        tells_uses = b"SPECIAL-USE" in options or not self.has(Quirk.USES_LEFT_OUT_36)
        answer = b'* LIST () "/" "Shared"\r\n' if self.has(Quirk.SHARED_ROOT_36) else b""
        for name, box in self.mailboxes.items():
            answer += b'* LIST (%s) "/" "%s"\r\n' % (box.attributes if tells_uses else b"", name)
            if b"STATUS" in options:
                answer += self._status_of(name, box)
        return answer + _OK

    def _status(self, arguments: bytes) -> Answer:
        name = _name_of(arguments)
        box = self.mailboxes.get(name)
        return b"{tag} NO no such mailbox\r\n" if box is None else self._status_of(name, box) + _OK

    def _status_of(self, name: bytes, box: Box) -> bytes:
        numbers = len(box.messages), box.uidnext, box.uidvalidity, box.modseq
        items = b"MESSAGES %d UIDNEXT %d UIDVALIDITY %d HIGHESTMODSEQ %d" % numbers
        return b'* STATUS "%s" (%s)\r\n' % (name, b"" if self.has(Quirk.EMPTY_STATUS_28) else items)

    # Opening a mailbox

    def _select(self, arguments: bytes) -> Answer:
        command = self.command.partition(b" ")[0]
        name = _name_of(arguments)
        box = self.mailboxes.get(name)
        refusal = self._refusal(arguments, name, box)
        if refusal is not None or box is None:
            return refusal or b"{tag} NO [NONEXISTENT] no such mailbox\r\n"
        box.selected |= command == b"SELECT"
        before, self._now.name = self.mailboxes.get(self._now.name), name
        self._now.exists = len(box.messages)
        return opening(self, self._now, before, box, arguments, command == b"EXAMINE") + _OK

    def _refusal(self, arguments: bytes, name: bytes, box: Box | None) -> Answer | None:
        if self.has(Quirk.ID_FIRST_28) and not self._now.identified:
            return b"{tag} NO SELECT Unsafe Login. Please contact kefu@example.test for help\r\n"
        if self.has(Quirk.READ_ONLY_NO_37) and self._first_times("read-only"):
            return b"{tag} NO mailbox selected READ-ONLY\r\n"
        if self.has(Quirk.LOCKED_BYE_37) and box is not None and name != b"INBOX" and self._first_times("locked", 2):
            return (b"* BYE locked\r\n", Action.DROP)
        if b"(CONDSTORE)" in arguments and not (self.offers(b"CONDSTORE") and not self.has(Quirk.REJECTS_OFFERED_42)):
            return b"{tag} BAD CONDSTORE\r\n"
        if b"(QRESYNC" in arguments and b"QRESYNC" not in self._now.enabled:
            return self._hang_up(b"QRESYNC is not enabled")
        return None

    def visible(self, box: Box) -> dict[int, Mail]:
        """Return the messages that this connection is shown."""
        if self.has(Quirk.PARTIAL_VIEW_25) and b"UIDONLY" not in self._now.enabled:
            return dict(list(box.messages.items())[-SHOWN:])
        return box.messages

    # In a mailbox

    def _idle(self, _arguments: bytes) -> Answer:
        return b"+ idling\r\n"

    def _done(self, _arguments: bytes) -> Answer:
        if self.has(Quirk.DONE_ALONE_33) and self.more_comes(_AHEAD_SECONDS):
            return self._hang_up(b"what was that")
        self._now.idled += 1
        if self.has(Quirk.IDLE_NO_KEEPALIVE_20) and self._now.idled > 1:
            return self._hang_up(b"you were idle too long")
        return _OK

    def _noop(self, _arguments: bytes) -> Answer:
        self._now.noops += 1
        self._now.idled = 0
        if self.has(Quirk.NOOP_NO_KEEPALIVE_28) and self._now.noops > 1:
            return self._hang_up(b"idle for too long")
        told, box = self._now.exists, self.mailboxes.get(self._now.name)
        if box is None or self.has(Quirk.NOOP_BLIND_30) or len(box.messages) == told:
            return _OK
        self._now.exists = len(box.messages)
        return b"* %d EXISTS\r\n" % self._now.exists + _OK

    def _search(self, arguments: bytes) -> Answer:
        criteria = arguments.partition(b" ")[2]
        if self.has(Quirk.NO_SEARCH_40):
            return b"{tag} BAD SEARCH\r\n"
        if self.has(Quirk.RFC822_EMPTY_23) and b"HEADER" in criteria:
            return b"{tag} NO [UNAVAILABLE] try later\r\n"
        uids = sorted(self.visible(self._box))
        if self.has(Quirk.SEARCH_LIMITS_33) and criteria in (b"UNSEEN", b"FLAGGED"):
            uids = []
        if criteria.startswith(b"RETURN"):
            if not self.offers(b"ESEARCH"):
                return self._hang_up(b"what is RETURN?")
            if self.has(Quirk.REJECTS_OFFERED_42):
                return b"{tag} BAD RETURN\r\n"
            found = b" ALL %s" % str(NumberSet.from_numbers(uids)).encode() if uids else b""
            return b'* ESEARCH (TAG "{tag}") UID%s\r\n' % found + _OK
        return self._searched(uids)

    def _searched(self, uids: list[int]) -> bytes:
        if self.has(Quirk.UNORDERED_26):
            uids = uids[1::2] + uids[::2][::-1]
        if self.has(Quirk.UID_ZERO_41):
            uids = [0, *uids]
        numbers = [b"%d" % uid for uid in uids]
        if not self.has(Quirk.DOUBLE_SPACE_39):
            return b"* SEARCH %s\r\n" % b" ".join(numbers) + _OK
        middle = len(numbers) // 2
        return b"* SEARCH  %s \r\n* SEARCH %s  \r\n" % (b"  ".join(numbers[:middle]), b" ".join(numbers[middle:])) + _OK

    @property
    def _box(self) -> Box:
        return self.mailboxes[self._now.name]

    def _fetch(self, arguments: bytes) -> Answer:
        numbers, _, items = arguments.partition(b" ")[2].partition(b" ")
        shown = self.visible(self._box)
        named = NumberSet.parse(numbers, star=max(shown, default=0))
        wanted = [uid for uid in shown if uid in named]
        refusal = self._refused_fetch(numbers, items, wanted)
        if refusal is not None:
            return refusal
        bodies = b"BODY.PEEK[]" in items
        if bodies:
            wanted = self._with_bodies(wanted)
            if not wanted:
                return b"{tag} NO %s\r\n" % self._reason
        for uid in wanted if bodies else ():
            shown[uid].told += 1
        return self._rows(wanted, items) + _OK

    @property
    def _reason(self) -> bytes:
        return b"[UNAVAILABLE] UID FETCH Server error" if self.has(Quirk.STUCK_26) else b"cannot convert this item"

    def _refused_fetch(self, numbers: bytes, items: bytes, wanted: list[int]) -> Answer | None:
        ranges = [tuple(map(int, part.split(b":"))) for part in numbers.replace(b"*", b"4294967295").split(b",")]
        flat = [number for each in ranges for number in each]
        if self.has(Quirk.ASCENDING_32) and flat != sorted(flat):
            return b"{tag} BAD set\r\n"
        if self.has(Quirk.NARROW_RANGES_27) and any(each[-1] - each[0] >= _WIDEST_RANGE for each in ranges):
            return b"{tag} BAD range too wide\r\n"
        if self.has(Quirk.DEAR_SIZES_39) and b"SIZE" in items and len(wanted) > _DEAR_SIZES:
            return self._hang_up(b"timed out")
        if b"CHANGEDSINCE" in items and (not self.offers(b"CONDSTORE") or self.has(Quirk.REJECTS_OFFERED_42)):
            return b"{tag} BAD CHANGEDSINCE\r\n"
        if self.has(Quirk.BACKOFF_12):
            return b"{tag} NO Request is throttled. Suggested Backoff Time: 120000 milliseconds\r\n"
        if self.has(Quirk.BARE_LINE_17) and self._first_times("bare"):
            return b"Server Unavailable. 15\r\n"
        if self.has(Quirk.LIMIT_26) and self._first_times("limit"):
            return (b"{tag} NO [LIMIT] Rate limit hit\r\n* BYE rate limit\r\n", Action.DROP)
        return None

    def _with_bodies(self, wanted: list[int]) -> list[int]:
        if self.has(Quirk.STUCK_26) and 3 in wanted:
            return []
        if self.has(Quirk.NO_BODY_16) and 4 in wanted:
            return []
        return [uid for uid in wanted if uid != 2] if self.has(Quirk.NO_BODY_16) else wanted

    def _rows(self, wanted: list[int], items: bytes) -> bytes:
        shown = self.visible(self._box)
        swapped = self.has(Quirk.WRONG_MESSAGE_26) and b"BODY.PEEK[]" in items and 3 in wanted
        bodies = {3: shown[5]} if swapped and self._first_times("wrong") else {}
        rows = Rows(self.quirks, items, uidonly=b"UIDONLY" in self._now.enabled, bodies=bodies)
        lacks = {1: b"FLAGS", 2: b"UID"} if self.has(Quirk.ROWS_LACK_43) and self._first_times("lacks") else {}
        since = int(items.partition(b"CHANGEDSINCE ")[2].partition(b")")[0].split()[0]) if b"SINCE" in items else 0
        seqs = {uid: seq for seq, uid in enumerate(shown, 1)}
        found = [
            rows.row(seqs[uid], uid, shown[uid], lacks=lacks.get(uid, b""))
            for uid in wanted
            if shown[uid].modseq > since
        ]
        if self.has(Quirk.UNORDERED_26):
            found = found[1::2] + found[::2][::-1]
        if self.has(Quirk.UID_ZERO_41):
            found.append(b"* 1 FETCH (UID 0 FLAGS () RFC822.SIZE 1 BODY[] {1}\r\nx)\r\n")
        if self.has(Quirk.UNSOLICITED_43):
            found.insert(1, b"* 2 FETCH (FLAGS (\\Answered))\r\n* 9 FETCH (UID 4000 FLAGS ())\r\n* 99 EXISTS\r\n")
        return b"".join(found)


def _name_of(arguments: bytes) -> bytes:
    if arguments.startswith(b'"'):
        return arguments[1:].partition(b'"')[0]
    return arguments.partition(b" ")[0]
