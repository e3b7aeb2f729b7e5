"""One side of one synthetic session: it does what the plan says, and looks at every byte that comes."""

import asyncio
import socket
import ssl
import struct

import accounts

PIECE = 1 << 16
STUCK_SECONDS = 150  # far more than any pause, stall or fault takes


class Plain:
    """A connection as the kernel has it."""

    def __init__(self, sock):
        self._sock = sock
        self._loop = asyncio.get_running_loop()

    async def send(self, data):
        await self._loop.sock_sendall(self._sock, data)

    async def receive(self):
        return await self._loop.sock_recv(self._sock, PIECE)

    async def end(self):
        self._sock.shutdown(socket.SHUT_WR)

    def reset(self):
        self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._sock.close()

    def close(self):
        self._sock.close()


class Sealed(Plain):
    """The client's end of one with TLS."""

    def __init__(self, sock, context):
        super().__init__(sock)
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_hostname="localhost")

    async def _flush(self):
        if data := self._outgoing.read():
            await super().send(data)

    async def _feed(self):
        data = await super().receive()
        if data:
            self._incoming.write(data)
        else:
            self._incoming.write_eof()

    async def handshake(self):
        while True:
            try:
                self._tls.do_handshake()
                return await self._flush()
            except ssl.SSLWantReadError:
                await self._flush()
                await self._feed()

    async def send(self, data):
        self._tls.write(data)
        await self._flush()

    async def receive(self):
        while True:
            try:
                return self._tls.read(PIECE)
            except ssl.SSLWantReadError:
                await self._feed()
            except ssl.SSLZeroReturnError:
                return b""

    async def end(self):
        try:
            self._tls.unwrap()
        except ssl.SSLError:
            pass  # it would wait for the other's close_notify, or has it already
        await self._flush()


class Conversation:
    """`out` is the stream that this side sends, `expected` the one that it receives."""

    def __init__(self, connection, side, other, out, expected, account):
        self._connection = connection
        self._side = side
        self._other = other
        self._out = out
        self._expected = expected
        self._account = account
        self._came = asyncio.Event()

    async def run(self):
        """To the end of the session; the account says what became of it."""
        try:
            state = await asyncio.wait_for(self._run(), STUCK_SECONDS)
        except asyncio.TimeoutError:
            state = accounts.STUCK
        except (OSError, ssl.SSLError):
            state = accounts.RESET
        finally:
            self._connection.close()
        self._account.state = state

    async def _run(self):
        receiving = asyncio.ensure_future(self._receive())
        try:
            await self._send(receiving)
            if self._side.end == "reset":
                self._connection.reset()
                return accounts.OWN_RESET
            if self._side.end == "eof":
                await self._connection.end()
            await receiving
            if self._side.end == "wait":
                await self._connection.end()
        finally:
            receiving.cancel()
            await asyncio.gather(receiving, return_exceptions=True)
        account = self._account
        whole = account.sent == self._side.total and account.received == self._other.total
        return accounts.ORDERLY if whole else accounts.SHORT

    async def _send(self, receiving):
        account = self._account
        for needed, pause, count in self._side.steps:
            while account.received < needed:
                if account.ended or receiving.done():
                    return
                self._came.clear()
                await self._came.wait()
            if pause:
                await asyncio.sleep(pause)
            end = account.sent + count
            while account.sent < end:
                piece = self._out.piece(account.sent, min(PIECE, end - account.sent))
                account.sending = account.sent + len(piece)
                await self._connection.send(piece)
                account.sent = account.sending

    async def _receive(self):
        account = self._account
        stall = self._side.stall
        try:
            while True:
                if stall and account.received >= stall[0]:
                    await asyncio.sleep(stall[1])
                    stall = None
                data = await self._connection.receive()
                if not data:
                    account.ended = 1
                    return
                if not self._expected.agrees(account.received, data):
                    account.wrong = 1
                account.received += len(data)
                self._came.set()
        finally:
            self._came.set()
