"""What stands before the OK of SELECT and EXAMINE."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from tests.fakes.quirky.box import Box, Connection
from tests.fakes.quirky.quirks import Quirk
from tests.fakes.quirky.rows import Rows

if TYPE_CHECKING:
    from tests.fakes.quirky.server import QuirkyImap


def opening(
    server: QuirkyImap, connection: Connection, before: Box | None, box: Box, arguments: bytes, examines: bool
) -> bytes:
    """Return it; ``before`` is the mailbox that was open until now."""
    lines = list(_of_the_one_before(server, connection, before))
    exists = len(server.visible(box))
    vanished: list[int] = []
    asked = b"(QRESYNC (" in arguments
    since = int(arguments.partition(b"(QRESYNC (")[2].split()[1].strip(b")")) if asked else 0
    if asked:
        vanished = [uid for modseq, uid in box.expunged if modseq > since]
        if server.has(Quirk.VANISHED_LIES_22):
            vanished.append(min(box.messages))
            exists -= 1
    lines += _exists(server, exists)
    lines.append(b"FLAGS (\\Seen \\Answered \\Flagged \\Deleted \\Draft)")
    lines += _numbers(server, box, examines)
    if vanished:
        lines.append(b"VANISHED (EARLIER) " + b",".join(b"%d" % uid for uid in sorted(vanished)))
    answer = b"".join(b"* %s\r\n" % line for line in lines)
    if asked:
        rows = Rows(server.quirks, b"(FLAGS MODSEQ)", uidonly=b"UIDONLY" in connection.enabled, bodies={})
        changed = [each for each in enumerate(box.messages.items(), 1) if each[1][1].modseq > since]
        answer += b"".join(rows.row(seq, uid, mail) for seq, (uid, mail) in changed)
    return answer


def _of_the_one_before(server: QuirkyImap, connection: Connection, before: Box | None) -> Iterator[bytes]:
    if before is None or b"QRESYNC" not in connection.enabled:
        return
    if server.has(Quirk.NO_CLOSED_37):
        yield b"%d EXISTS" % (len(before.messages) + 1)
    else:
        yield b"OK [CLOSED] closed"


def _exists(server: QuirkyImap, count: int) -> Iterator[bytes]:
    if server.has(Quirk.SEVERAL_EXISTS_37):
        yield b"0 EXISTS"
        yield b"%d EXISTS" % count
        yield b"%d EXISTS" % (count // 2)
    elif server.has(Quirk.DOUBLE_SPACE_39):
        yield b" %d  EXISTS" % count
    else:
        yield b"%d EXISTS" % count


def _numbers(server: QuirkyImap, box: Box, examines: bool) -> Iterator[bytes]:
    uidvalidity: int | None = box.uidvalidity
    if server.has(Quirk.EXAMINE_LIES_38) and examines and not box.selected:
        server.told["examined"] += 1
        uidvalidity = 1_000 + server.told["examined"]
    if server.has(Quirk.UIDVALIDITY_ZERO_41):
        uidvalidity = 0
    if server.has(Quirk.UIDVALIDITY_MISSING_41) or server.has(Quirk.SIZES_VARY_41):
        uidvalidity = None
    if uidvalidity is not None:
        yield b"OK [UIDVALIDITY %d] ok" % uidvalidity
    if not server.has(Quirk.EXAMINE_LIES_38):
        yield b"OK [UIDNEXT %d] ok" % box.uidnext
    if server.offers(b"CONDSTORE"):
        yield b"OK [HIGHESTMODSEQ %d] ok" % box.modseq
