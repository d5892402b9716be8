"""One client connection: a uvloop protocol that reads commands, one at a time, and runs their handlers."""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections import deque
from collections.abc import Coroutine
from typing import TYPE_CHECKING, cast

from imapfront import states
from imapfront.capabilities import capabilities
from imapfront.errors import EXPECTED, Answer, answer_to
from imapfront.handlers import Run, handler_of
from imapfront.protocol import CommandReceived, Fault, Hangup, LineReceived, Protocol, SendContinuation
from imapfront.session import Services, Session
from imapfront.states import State
from imapfront.transports import acknowledge, encrypted, is_local
from imapfront.wire import responses
from imapfront.wire.parse_command import Tagged
from mailcache.services.login import Login
from mailcache.spool import SpooledLiteral

if TYPE_CHECKING:
    from asyncio import Transport

logger = logging.getLogger(__name__)

# A client that sends faster than its commands are carried out is made to wait.
_MAX_WAITING_BYTES = 256 * 1024
_WRITE_HIGH_WATER = 256 * 1024
# How long a client may take to read what is left when the connection ends; uvloop would wait for ever.
_LAST_WORDS_SECONDS = 30.0


class Connection(asyncio.Protocol):
    """Bytes to commands to answers. Implements ``imapfront.session.Channel``."""

    def __init__(
        self,
        services: Services,
        *,
        tls_context: ssl.SSLContext | None,
        implicit_tls: bool,
        connections: set[Connection],
    ) -> None:
        self._services = services
        self._tls_context = tls_context
        self._implicit_tls = implicit_tls
        self._connections = connections
        self._protocol = Protocol(services.configuration.limits, services.open_spool)
        self._transport: Transport | None = None
        self._session: Session | None = None
        self._task: asyncio.Task[None] | None = None
        self.closed = asyncio.Event()
        """Set when the connection has ended."""
        self._can_write = asyncio.Event()
        self._can_write.set()
        self._lines: deque[bytes] = deque()
        self._line_waiter: asyncio.Future[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._reading_paused = False
        self._starting_tls = False
        self._closing = False
        self._farewell = ""
        """What to say when the running command has been answered."""

    # Transport to connection.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("Transport", transport)
        self._transport.set_write_buffer_limits(high=_WRITE_HIGH_WATER)
        peer = (transport.get_extra_info("peername") or ("unknown",))[0]
        self._session = Session(self._services, self, peer=peer, is_local=is_local(peer), tls=self._implicit_tls)
        self._connections.add(self)
        self._restart_timer()
        self.write(responses.untagged_status("OK", "imapped ready", code=self._capability_code()))

    def data_received(self, data: bytes) -> None:
        # Before the login the time is for all of it, or a byte now and then would hold the connection for ever.
        if self._session_required.scope is not None:
            self._restart_timer()
        self._protocol.feed(data)
        if self._protocol.buffered > _MAX_WAITING_BYTES:
            self._pause_reading()
        self._pump()
        if self._task is None and self._protocol.is_amid_command and self._transport is not None:
            acknowledge(self._transport)

    def eof_received(self) -> bool:
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self._connections.discard(self)
        self.closed.set()
        self._closing = True
        self._can_write.set()
        if self._timer is not None:
            self._timer.cancel()
        if self._task is not None:
            self._task.cancel()
        self._discard_spools()
        if self._session is not None:
            self._session.close_mailbox()
            self._session.state = State.LOGOUT

    def pause_writing(self) -> None:
        self._can_write.clear()

    def resume_writing(self) -> None:
        self._can_write.set()
        # Who takes what is sent is there, however long a slow link needs for one answer.
        if self._session_required.scope is not None:
            self._restart_timer()
        # Not at once: this may be called from within a write, in the middle of an answer.
        asyncio.get_running_loop().call_soon(self._pump_if_free)

    # The channel of the session.

    def write(self, data: bytes) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(data)

    async def drain(self) -> None:
        await self._can_write.wait()
        if self._closing:
            raise ConnectionResetError
        # Other connections have their turn even while this client takes everything at once.
        await asyncio.sleep(0)

    async def read_line(self) -> bytes:
        self._protocol.expect_lines()
        try:
            self._pump_lines()
            while not self._lines:
                self._line_waiter = asyncio.get_running_loop().create_future()
                await self._line_waiter
            return self._lines.popleft()
        finally:
            self._line_waiter = None
            self._protocol.expect_commands()

    def logged_in(self) -> None:
        self._protocol.authenticated()
        self._restart_timer()

    async def _start_tls(self) -> None:
        session = self._session_required
        if self._transport is None or self._tls_context is None:
            raise ConnectionResetError
        if self._protocol.tls_started():
            logger.warning("%s: sent plaintext after STARTTLS; it was not read", session.peer)
        self._starting_tls = True
        self._transport = await encrypted(self._transport, self, self._tls_context)
        self._starting_tls = False
        # Whatever was paused was so for the transport beneath.
        self._reading_paused = False
        self._can_write.set()
        session.tls = True

    # The end.

    def say_bye(self, text: str) -> None:
        """Tell the client why, and close when it has been sent."""
        if self._starting_tls:
            self.abort()  # in plain text it would be garbage in the client's handshake
        elif not self._closing:
            self.write(responses.untagged_status("BYE", text))
            self._close()

    def end(self, text: str) -> None:
        """Say BYE as soon as the running command is answered: one that is not might be repeated though it was done."""
        if self._task is None or self._line_waiter is not None or self._starting_tls:
            self.say_bye(text)
        else:
            self._farewell = text

    @property
    def login(self) -> Login | None:
        """Who has logged in; None before that, and after the end."""
        return None if self._session is None or self._closing else self._session.login

    def abort(self) -> None:
        """Close at once."""
        if self._transport is not None:
            self._transport.abort()

    def _close(self) -> None:
        """Close when all has been sent, or the client has had its time to take it."""
        if self._closing or self._transport is None:
            return
        self._closing = True
        self._transport.close()
        if self._timer is not None:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_later(_LAST_WORDS_SECONDS, self.abort)

    # Commands.

    @property
    def _session_required(self) -> Session:
        if self._session is None:
            raise RuntimeError("no connection has been made")
        return self._session

    def _pump(self) -> None:
        """Take events until a command has to wait for something."""
        if self._line_waiter is not None:
            # What follows the line that ends the command is a command again.
            if not self._line_waiter.done():
                self._pump_lines()
            return
        while self._task is None and not self._closing:
            if not self._can_write.is_set():
                # Who does not read gets no more answers, or they would fill the memory.
                self._pause_reading()
                return
            try:
                event = self._protocol.next_event()
            except OSError as error:
                self._disk_failed(error)
                return
            match event:
                case None:
                    self._resume_reading()
                    return
                case CommandReceived(tagged):
                    self._run(tagged)
                case SendContinuation():
                    self.write(responses.continuation("go ahead"))
                case Fault():
                    self._discard_spools()
                    self._refuse(event)
                case Hangup(text):
                    self.say_bye(text)
                case LineReceived():
                    raise AssertionError("a line outside of IDLE and AUTHENTICATE")

    def _pump_if_free(self) -> None:
        if self._task is None:
            self._pump()

    def _pump_lines(self) -> None:
        event = self._protocol.next_event()
        if event is None:
            # The line may be behind commands that were too many to read on.
            self._resume_reading()
        elif isinstance(event, Hangup):
            self.say_bye(event.text)
        elif isinstance(event, LineReceived):
            self._lines.append(event.line)
            if self._line_waiter is not None and not self._line_waiter.done():
                self._line_waiter.set_result(None)

    def _run(self, tagged: Tagged) -> None:
        session = self._session_required
        if not states.is_allowed(tagged.command, session.state):
            text = f"{tagged.command.name} is not possible in the state {session.state.value}"
            self.write(responses.tagged(tagged.tag, "BAD", text))
            return
        handle = handler_of(tagged.command)
        try:
            quick = handle.quick(session, tagged.command) if handle.quick and session.is_current() else None
        except EXPECTED as error:
            quick = answer_to(error)
        if quick is not None:
            self._finish(tagged, quick)
            return
        self._start(self._run_slowly(tagged, handle.run))

    async def _run_slowly(self, tagged: Tagged, run: Run) -> None:
        session = self._session_required
        try:
            answer = await run(session, tagged.command)
        except EXPECTED as error:
            answer = answer_to(error)
            if answer.code in ("UNAVAILABLE", "SERVERBUG"):
                logger.warning("%s: %s: %s", session.peer, tagged.command.name, error)
        else:
            if states.may_expunge(tagged.command):
                await session.refresh_if_possible()
        self._finish(tagged, answer)

    def _finish(self, tagged: Tagged, answer: Answer) -> None:
        session = self._session_required
        is_gone = session.selected is not None and session.selected.shared.gone
        if is_gone:
            session.close_mailbox()
        elif states.may_expunge(tagged.command):
            session.send_updates()
        else:
            session.send_flags()
        if session.wants_tls and self._transport is not None:
            # What comes next is the client's handshake, which is not for this protocol.
            self._transport.pause_reading()
        if not (is_gone and tagged.command.name == "IDLE"):  # it ends when the client says so
            self.write(responses.tagged(tagged.tag, answer.status, answer.text, code=answer.code))
        if session.state is State.LOGOUT:
            self._close()
        elif is_gone:
            self.say_bye("the mailbox was deleted")

    def _command_ended(self, task: asyncio.Task[None]) -> None:
        self._task = None
        if task.cancelled():
            return
        error = task.exception()
        if error is None:
            self._go_on()
        elif isinstance(error, ConnectionError | TimeoutError | ssl.SSLError):  # also of a TLS handshake
            self.abort()
            if self._starting_tls and not self.closed.is_set():
                self.connection_lost(error)
        elif isinstance(error, OSError):
            self._disk_failed(error)
        else:
            # The one place for what nobody expected: a bug. The client sees a clean end, the log sees it all.
            logger.error("%s: a command failed", self._session_required.peer, exc_info=error)
            self.say_bye("[SERVERBUG] internal error")

    def _disk_failed(self, error: OSError) -> None:
        """End the connection: of a message that was arriving a piece is missing."""
        logger.error("%s: a file could not be read or written", self._session_required.peer, exc_info=error)
        self._discard_spools()
        self.say_bye("[UNAVAILABLE] the server cannot go on now, try again later")

    def _go_on(self) -> None:
        session = self._session_required
        if self._farewell:
            self.say_bye(self._farewell)
        elif session.wants_tls:
            session.wants_tls = False
            self._start(self._start_tls())
        else:
            self._pump()

    def _start(self, work: Coroutine[None, None, None]) -> None:
        self._task = asyncio.ensure_future(work)
        self._task.add_done_callback(self._command_ended)

    def _discard_spools(self) -> None:
        for spool in self._protocol.take_abandoned():
            if isinstance(spool, SpooledLiteral):
                spool.discard()

    def _refuse(self, fault: Fault) -> None:
        if fault.tag is None:
            self.write(responses.untagged_status(fault.status, fault.text, code=fault.code))
        else:
            self.write(responses.tagged(fault.tag, fault.status, fault.text, code=fault.code))

    def _capability_code(self) -> str:
        session = self._session_required
        names = capabilities(
            authenticated=False,
            can_start_tls=self._services.can_start_tls and not session.tls,
            may_login=session.may_login,
        )
        return "CAPABILITY " + " ".join(names)

    # Flow and time.

    def _pause_reading(self) -> None:
        if not self._reading_paused and self._transport is not None and not self._transport.is_closing():
            self._reading_paused = True
            self._transport.pause_reading()

    def _resume_reading(self) -> None:
        if self._reading_paused and self._transport is not None and not self._transport.is_closing():
            self._reading_paused = False
            self._transport.resume_reading()

    def _restart_timer(self) -> None:
        if self._closing:
            return
        if self._timer is not None:
            self._timer.cancel()
        configuration = self._services.configuration
        before_login = self._session is None or self._session.scope is None
        seconds = configuration.login_timeout if before_login else configuration.idle_timeout
        self._timer = asyncio.get_running_loop().call_later(seconds, self._time_is_up)

    def _time_is_up(self) -> None:
        is_answering = self._task is not None and self._line_waiter is None
        if self._session_required.scope is None or not is_answering:
            self.say_bye("nothing heard for too long")
        elif self._can_write.is_set():
            # The client waits for us, and BYE could end up within a literal.
            self._restart_timer()
        else:
            # It has taken next to nothing of a large answer in all this time.
            self.abort()
