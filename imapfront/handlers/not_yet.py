"""Commands that change mail: known, refused, and nothing lost."""

from __future__ import annotations

from imapfront.errors import Answer
from imapfront.session import Session
from imapfront.wire import commands as c


async def run_not_yet(_: Session, command: c.NotYet) -> Answer:
    """Refuse clearly."""
    return Answer("NO", f"{command.command} is not supported: this server mirrors mail for reading", "CANNOT")
