"""All connections of one slice: opened by its threads, and watched over by its heartbeat."""

from __future__ import annotations

from random import Random

from mailcache.models import Account
from sync.connection import Traffic, UpstreamSession, add_usage
from sync.lanes import Lane
from sync.models import Purpose
from sync.services.slots import renew_slots
from sync.upstream.values import CommandUsage


class SliceConnections:
    """The sessions of a slice, which share one holder of slots."""

    def __init__(self, account: Account, *, holder: str, lane: Lane, rng: Random) -> None:
        self._account = account
        self._holder = holder
        self._lane = lane
        self._rng = rng
        self._sessions: list[UpstreamSession] = []
        self._aborted = False
        self._recorded: dict[str, CommandUsage] = {}

    def open(self, purpose: Purpose) -> UpstreamSession:
        """Return a new session; it connects when it is used."""
        session = UpstreamSession(
            self._account,
            purpose=purpose,
            holder=self._holder,
            lane=self._lane,
            rng=Random(self._rng.random()),  # noqa: S311 - jitter, not a secret
        )
        self._sessions.append(session)
        if self._aborted:
            session.abort()
        return session

    def abort(self) -> None:
        """End whatever the slice's threads are waiting for; every later use fails."""
        self._aborted = True
        for session in list(self._sessions):
            session.abort()

    def renew_slots(self) -> None:
        """Prolong the slots; a session whose slot has lapsed loses its connection."""
        held = {session: session.slot_id for session in list(self._sessions)}
        renewed = renew_slots(holder=self._holder)
        for session, slot_id in held.items():
            if slot_id is not None and slot_id not in renewed and session.slot_id == slot_id:
                session.lose_slot()

    def traffic(self) -> Traffic:
        """Return what went over all connections."""
        return sum((session.traffic() for session in list(self._sessions)), Traffic())

    def new_usage(self) -> dict[str, CommandUsage]:
        """Return what commands have cost since the last call, by their names."""
        total: dict[str, CommandUsage] = {}
        for session in list(self._sessions):
            total = add_usage(total, session.usage())
        new = {name: _difference(usage, self._recorded.get(name, CommandUsage())) for name, usage in total.items()}
        self._recorded = total
        return new

    def close(self) -> None:
        """Log out everywhere."""
        for session in self._sessions:
            session.close()


def _difference(now: CommandUsage, before: CommandUsage) -> CommandUsage:
    return CommandUsage(
        now.commands - before.commands, now.bytes_in - before.bytes_in, now.bytes_out - before.bytes_out
    )
