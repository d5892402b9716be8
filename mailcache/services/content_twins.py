"""Messages whose bytes are here already: moved or copied from another mailbox by somebody else's client."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from mailcache.identity import Traits, emailid_of, is_upstream_emailid
from mailcache.services.rows import fetch_all

# Locked, so that a collector cannot delete what is about to be shared. The conditions on '' are those of the indexes.
_FIND = """
    SELECT content.id, content.size, COALESCE(content.upstream_size, content.size), content.internal_date,
           content.message_id, content.emailid,
           EXISTS (SELECT 1 FROM mailcache_message AS message
                   WHERE message.content_id = content.id AND message.mailbox_id = %(mailbox)s),
           EXISTS (SELECT 1 FROM mailcache_message AS message
                   WHERE message.content_id = content.id AND message.mailbox_id <> %(mailbox)s)
    FROM mailcache_content AS content
    WHERE content.account_id = %(account)s
      AND ((content.emailid = ANY(%(emailids)s) AND content.emailid <> '')
           OR (content.message_id = ANY(%(message_ids)s) AND content.message_id <> ''))
    FOR KEY SHARE OF content
"""


class Twin(NamedTuple):
    """A Content that a new message has. ``to_compare``: it is likely so, and a look at its bytes will tell."""

    content_id: int
    size: int
    emailid: str
    to_compare: bool


class _Stored(NamedTuple):
    content_id: int
    size: int
    upstream_size: int
    internal_date: object
    message_id: str
    emailid: str
    is_here: bool
    is_elsewhere: bool


def find_twins(*, account_id: int, mailbox_id: int, traits: Mapping[int, Traits]) -> dict[int, Twin]:
    """Return, by UID, the Content of new messages of a mailbox whose bytes are here; in the caller's transaction.

    The upstream's id decides. Without one Message-ID, size and date must agree with one Content that no message of this
    mailbox has: two deliveries of one mail (to an alias, through a list) are alike in all three and differ in their
    Received fields. Where the other message is still there, such a match is to be confirmed.
    """
    emailids = [emailid_of(each.upstream_id) for each in traits.values() if each.upstream_id]
    message_ids = [each.message_id for each in traits.values() if each.message_id]
    if not emailids and not message_ids:
        return {}
    parameters = {"account": account_id, "mailbox": mailbox_id, "emailids": emailids, "message_ids": message_ids}
    stored = [_Stored(*row) for row in fetch_all(_FIND, parameters)]
    return _by_message_id(traits, stored) | _by_upstream_id(traits, stored)


def _by_upstream_id(traits: Mapping[int, Traits], stored: Sequence[_Stored]) -> dict[int, Twin]:
    by_emailid = {each.emailid: each for each in stored}
    found = {}
    for uid, each in traits.items():
        twin = by_emailid.get(emailid_of(each.upstream_id)) if each.upstream_id else None
        if twin is not None:
            found[uid] = Twin(twin.content_id, twin.size, twin.emailid, to_compare=False)
    return found


def _by_message_id(traits: Mapping[int, Traits], stored: Sequence[_Stored]) -> dict[int, Twin]:
    candidates = defaultdict(list)
    for each in stored:
        candidates[each.message_id, each.upstream_size, each.internal_date].append(each)
    new = defaultdict(list)
    for uid, trait in traits.items():
        if trait.message_id:
            new[trait.message_id, trait.size, trait.internal_date].append(uid)
    found = {}
    for key, uids in new.items():
        twins = candidates.get(key, [])
        if len(uids) == len(twins) == 1 and not twins[0].is_here:
            twin, emailid = twins[0], emailid_of(traits[uids[0]].upstream_id)
            # Of two messages with ids the ids tell, and they have not matched.
            if not (emailid and is_upstream_emailid(twin.emailid)):
                found[uids[0]] = Twin(twin.content_id, twin.size, emailid or twin.emailid, twin.is_elsewhere)
    return found
