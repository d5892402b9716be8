"""Testing the connection to an account's upstream: log in, look around, and say in plain words what went wrong."""

from __future__ import annotations

import time
from dataclasses import dataclass

from imapped_site.operations import Operator, note
from imapped_site.units import decimal
from mailcache.errors import MailcacheError
from mailcache.models import Account, AccountState, TlsMode
from mailcache.services.accounts import retry_credentials
from sync.connection import endpoint_of, log_in
from sync.oauth.errors import SignInNeeded, TokenServerFailed
from sync.upstream.blocking import BlockingClient
from sync.upstream.endpoint import Credentials, Deadlines
from sync.upstream.errors import AuthFailed, ConnectFailed, TemporarilyRefused, TimedOut, TlsFailed, UpstreamError

# Somebody waits for the answer. A login may be slow on a busy server without anything being wrong (field note 10).
_DEADLINES = Deadlines(connect=10, tls=10, greeting=20, login=60, command=30, inactivity=30, idle=30)
_NAMES_SHOWN = 8


class UpstreamTestFailed(MailcacheError):
    """The upstream cannot be used as the account is set up; the text says what to look at."""


@dataclass(frozen=True, slots=True)
class UpstreamReport:
    """What a successful test found."""

    account: Account
    capabilities: tuple[str, ...]
    mailboxes: tuple[str, ...]
    seconds: float

    @property
    def summary(self) -> str:
        """Return it in a sentence or two."""
        account = self.account
        protection = "unprotected" if account.tls_mode == TlsMode.PLAIN else "over TLS"
        shown = ", ".join(self.mailboxes[:_NAMES_SHOWN])
        more = len(self.mailboxes) - _NAMES_SHOWN
        return (
            f"{account}: logged in to {account.host}:{account.port} as {account.username}, {protection}, "
            f"in {self.seconds:.1f} s. {decimal(len(self.mailboxes))} mailboxes: {shown}"
            f"{f' and {decimal(more)} more' if more > 0 else ''}."
        )


def try_upstream(*, by: Operator, account: Account) -> UpstreamReport:
    """Log in upstream and list the mailboxes; raises ``UpstreamTestFailed`` with a diagnosis, or ``SealBroken``.

    Nothing is selected or changed there. Credentials that were refused before and work now are used again.
    """
    try:
        report = _look_around(account)
    except UpstreamError as error:
        diagnosis = diagnose(error, account)
        note(by, "account.test", account=account, outcome=diagnosis)
        raise UpstreamTestFailed(diagnosis) from error
    if account.state == AccountState.AUTH_FAILED:
        retry_credentials(account_id=account.pk)
    note(by, "account.test", account=account, outcome="ok")
    return report


def diagnose(error: UpstreamError, account: Account) -> str:
    """Return what failed, as the server or the network says it, and what to look at."""
    place = f"{account.host}:{account.port}"
    match error:
        case ConnectFailed():
            return f"Cannot connect to {place}: {error}. Check the host name, the port and the firewall."
        case TlsFailed():
            return f"Connected to {place}, but TLS failed: {error}. {_tls_hint(str(error), account)}"
        case SignInNeeded():
            return f"{account}: {error}."
        case AuthFailed():
            return (
                f"{place} refuses the user name {account.username!r} or the password: {error}. "
                "Many providers want an app password here, or IMAP access to be switched on first."
            )
        case TokenServerFailed():
            return f"{account}: no access token: {error}."
        case TimedOut():
            return f"{place} did not answer in time: {error}. {_silence_hint(account)}"
        case TemporarilyRefused():
            return f"{place} does not want this connection now: {error}. Try again later."
        case _:
            return f"{place} cannot be used: {error}."


def _look_around(account: Account) -> UpstreamReport:
    started = time.monotonic()

    def connect(credentials: Credentials) -> BlockingClient:
        return BlockingClient.connect(endpoint_of(account), credentials, _DEADLINES)

    with log_in(account, connect) as client:
        names = sorted(mailbox.name for mailbox in client.list_mailboxes())
        capabilities = tuple(sorted(client.capabilities))
        client.logout()
    return UpstreamReport(account, capabilities, tuple(names), time.monotonic() - started)


def _tls_hint(text: str, account: Account) -> str:
    if "certificate" in text.lower() or "hostname" in text.lower():
        return "If the certificate is your own, name its authority in UPSTREAM_CA_FILE; the host name must be in it."
    if account.tls_mode == TlsMode.TLS:
        return "This port may want STARTTLS instead (usual on 143)."
    return "The server may offer TLS on port 993 only."


def _silence_hint(account: Account) -> str:
    if account.tls_mode == TlsMode.TLS:
        return "If this is not the TLS port (usually 993), try STARTTLS."
    return "If this is the TLS port (usually 993), choose TLS from the first byte."
