"""The switches. A name ends in the row of field notes, section 2, that tells of it."""

from __future__ import annotations

from enum import Enum, auto


class Quirk(Enum):
    """One thing that a server gets wrong."""

    THROTTLED_TEXT_5 = auto()
    """[THROTTLED] stands in the text of some OKs; who does not slow down is hung up on: BYE Session expired."""
    NOT_CONNECTED_11 = auto()
    """Any password is OK, and everything but CAPABILITY and ID afterwards is BAD: authenticated but not connected."""
    BACKOFF_12 = auto()
    """FETCH is refused with the time after which to come back."""
    REV2_BREAKS_13 = auto()
    """IMAP4rev2 is advertised; whoever uses what it took in is hung up on."""
    SEQ_ABOVE_EXISTS_14 = auto()
    """FETCH responses carry sequence numbers far above EXISTS."""
    NO_BODY_16 = auto()
    """The second message never has a body, the fourth is refused."""
    BARE_LINE_17 = auto()
    """The first FETCH is answered by a bare line: Server Unavailable."""
    ID_LIST_17 = auto()
    """ID wants NIL."""
    LONG_LINES_18 = auto()
    """Whoever sends a line of more than 8,000 bytes is hung up on."""
    PARTIAL_20 = auto()
    """A partial FETCH gives bytes of somewhere else."""
    IDLE_NO_KEEPALIVE_20 = auto()
    """A connection on which nothing but IDLE is used ends when the second one does."""
    CAPABILITY_REWRITTEN_21 = auto()
    """A proxy tells of extensions until the login, and with its OK, that the server does not have."""
    NOT_ENABLED_22 = auto()
    """ENABLE is OK and enables nothing; whoever uses QRESYNC is BAD."""
    VANISHED_LIES_22 = auto()
    """After QRESYNC a message is said to have vanished, and is not counted, that is there for everybody else."""
    RFC822_EMPTY_23 = auto()
    """FETCH RFC822 gives nothing, ENVELOPE has unescaped quotes, SEARCH of a header is NO [UNAVAILABLE]."""
    UNAVAILABLE_23 = auto()
    """The first connection is greeted by BYE: Service temporarily unavailable."""
    PARTIAL_VIEW_25 = auto()
    """Only the newest twenty messages are shown, unless UIDONLY is enabled."""
    LIMIT_26 = auto()
    """The first FETCH is NO [LIMIT], followed by BYE."""
    STUCK_26 = auto()
    """The third message: NO UID FETCH Server error."""
    WRONG_MESSAGE_26 = auto()
    """The first time that the body of the third message is asked for, that of the fifth comes with its UID."""
    UNORDERED_26 = auto()
    """Rows come in no order, and SEARCH names UIDs in none."""
    NARROW_RANGES_27 = auto()
    """A range of more than 2,000 is BAD."""
    ID_FIRST_28 = auto()
    """Strangers open no mailbox: ID comes first, though it is not advertised."""
    EMPTY_STATUS_28 = auto()
    """STATUS and LIST-STATUS answer with an empty list."""
    NOOP_NO_KEEPALIVE_28 = auto()
    """NOOP does not keep a connection alive, which ends after the second."""
    NOOP_BLIND_30 = auto()
    """NOOP tells nothing of what is new."""
    ENVELOPE_31 = auto()
    """ENVELOPE leaves addresses out."""
    ASCENDING_32 = auto()
    """A set that does not ascend is BAD."""
    SEARCH_LIMITS_33 = auto()
    """SEARCH UNSEEN and SEARCH FLAGGED find nothing."""
    DONE_ALONE_33 = auto()
    """Whoever sends a command before DONE was answered is hung up on."""
    FEW_CONNECTIONS_36 = auto()
    """Two connections at a time, no more."""
    SHARED_ROOT_36 = auto()
    """The root of a shared namespace is listed and cannot be opened."""
    USES_LEFT_OUT_36 = auto()
    """LIST with RETURN leaves special uses out unless they are asked for."""
    NO_CLOSED_37 = auto()
    """With QRESYNC another mailbox opens without CLOSED, after news of the one before."""
    SEVERAL_EXISTS_37 = auto()
    """SELECT counts up: EXISTS comes several times, the last one is not the largest."""
    READ_ONLY_NO_37 = auto()
    """The first attempt to open a mailbox is NO: mailbox selected READ-ONLY."""
    LOCKED_BYE_37 = auto()
    """Opening the second mailbox ends the connection, the first two times."""
    EXAMINE_LIES_38 = auto()
    """EXAMINE tells another UIDVALIDITY each time, until SELECT was used once; UIDNEXT is never told."""
    DOUBLE_SPACE_39 = auto()
    """EXISTS stands after two spaces, SEARCH in pieces and with blanks at the end."""
    DEAR_SIZES_39 = auto()
    """RFC822.SIZE downloads the message: nobody waits for more than 100 of them."""
    NO_SEARCH_40 = auto()
    """There is no SEARCH, and no NAMESPACE."""
    UIDVALIDITY_ZERO_41 = auto()
    """UIDVALIDITY is 0."""
    UIDVALIDITY_MISSING_41 = auto()
    """UIDVALIDITY is not told."""
    SIZES_VARY_41 = auto()
    """UIDVALIDITY is not told, and RFC822.SIZE is another each time."""
    UID_ZERO_41 = auto()
    """Rows of a message with UID 0 stand among the others, and SEARCH names it."""
    REJECTS_OFFERED_42 = auto()
    """ENABLE, RETURN of LIST and SEARCH, CONDSTORE and CHANGEDSINCE, LSUB are advertised, and BAD."""
    ROWS_LACK_43 = auto()
    """The first answer to a FETCH leaves FLAGS out in one row, UID in another."""
    UNSOLICITED_43 = auto()
    """FETCH responses that nobody asked for stand among the others."""
    BODY_NIL_43 = auto()
    """The body of the third message is NIL the first time."""
    NUL_PADDING_43 = auto()
    """NUL bytes stand before lines."""
    ODD_DATES_44 = auto()
    """INTERNALDATE has a day of one digit, a blank in front, or the year 0102."""
    OTHER_CAPABILITIES_45 = auto()
    """Every second connection offers nothing but IMAP4rev1, and takes nothing else."""


_ROWS = {quirk: int(quirk.name.rpartition("_")[2]) for quirk in Quirk}


def row_of(quirk: Quirk) -> int:
    """Return the row of field notes, section 2, that tells of a quirk."""
    return _ROWS[quirk]
