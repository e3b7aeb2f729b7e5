"""Clients of the relays, as a process that may be stopped and killed: clients.py SETTINGS FIRST RATE.

Sessions are numbered from FIRST on, and RATE of them begin in a second. After SIGTERM no more begin, and it ends with
the last."""

import asyncio
import hashlib
import json
import random
import signal
import socket
import ssl
import sys

import accounts
from conversation import Conversation, Plain, Sealed
from plans import Text, plan

CONNECT_SECONDS = 30
AT_ONCE = 250
PASSWORD = b"wonder-land"


class Clients:
    def __init__(self, settings, first, rate):
        self._settings = settings
        self._next = first
        self._rate = rate
        self._text = Text(settings["seed"])
        self._accounts = accounts.Accounts(settings["clients"])
        self._tls = ssl.create_default_context(cafile=settings["authority"]) if settings["authority"] else None
        self._tasks = set()
        self._going = True

    def stop(self):
        self._going = False

    async def run(self):
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, self.stop)
        draw = random.Random(f"pace {self._settings['seed']} {self._next}")
        while self._going:
            if len(self._tasks) < AT_ONCE:
                task = asyncio.ensure_future(self._session(self._next))
                self._next += 1
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)
            await asyncio.sleep(draw.expovariate(self._rate))
        while self._tasks:
            await asyncio.wait(self._tasks)

    async def _session(self, number):
        relay = self._settings["relays"][number % len(self._settings["relays"])]
        account = self._accounts[number]
        account.state = accounts.CONNECTING
        sock = socket.socket()
        sock.setblocking(False)
        try:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.bind((accounts.address_of(number), 0))
            await asyncio.wait_for(asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", relay["port"])),
                                   CONNECT_SECONDS)
        except (OSError, asyncio.TimeoutError):
            sock.close()
            account.state = accounts.REFUSED
            return
        account.state = accounts.OPEN
        if relay["protocol"] == "imap":
            await Mailbox(number, Plain(sock), account, self._settings).run()
            return
        connection = Plain(sock)
        if relay["tls"]:
            connection = Sealed(sock, self._tls)
            try:
                await asyncio.wait_for(connection.handshake(), 60)
            except (OSError, asyncio.TimeoutError) as error:
                sock.close()
                account.state = accounts.STUCK if isinstance(error, asyncio.TimeoutError) else accounts.RESET
                return
        doing = plan(self._settings["seed"], number, relay["tls"])
        await Conversation(connection, doing.client, doing.server, self._text.stream(number, "in"),
                           self._text.stream(number, "out"), account).run()


class Mailbox:
    """A session with a real IMAP server. What was sent and received is told by digests, in a line of a file."""

    def __init__(self, number, connection, account, settings):
        self._number = number
        self._connection = connection
        self._account = account
        self._settings = settings
        self._sent, self._received = hashlib.sha256(), hashlib.sha256()
        self._buffer = b""

    async def run(self):
        try:
            await asyncio.wait_for(self._session(), 120)
            state = accounts.ORDERLY
        except asyncio.TimeoutError:
            state = accounts.STUCK
        except EOFError:
            state = accounts.SHORT
        except OSError:
            state = accounts.RESET
        finally:
            self._connection.close()
        line = {"number": self._number, "in": self._sent.hexdigest(), "out": self._received.hexdigest()}
        with open(self._settings["mailboxes"], "a", encoding="ascii") as file:
            file.write(json.dumps(line) + "\n")
        self._account.state = state

    async def _session(self):
        draw = random.Random(f"imap {self._settings['seed']} {self._number}")
        await self._until(b"* ")
        await self._command(b"CAPABILITY")
        if draw.random() < 0.2:
            await self._command(b'LOGIN alice "wrong-%d"' % self._number, b"wrong-%d" % self._number)
        await self._command(b'LOGIN alice "%s"' % PASSWORD, PASSWORD)
        await self._command(b"SELECT INBOX")
        for _ in range(draw.randint(0, 3)):
            message = b"Subject: soak\r\n\r\n" + b"A line of a message.\r\n" * draw.randint(1, 300)
            await self._send(b"A APPEND INBOX {%d}\r\n" % len(message))
            await self._until(b"+ ", b"A NO", b"A BAD")
            await self._send(message)
            await self._command(b"")
        await self._command(b"NOOP")
        await asyncio.sleep(draw.choice((0, 0, 0.5, 5)))
        await self._send(b"A LOGOUT\r\n")
        while await self._line():
            pass

    async def _command(self, text, secret=b""):
        await self._send((b"A " + text if text else b"") + b"\r\n", secret)
        await self._until(b"A OK", b"A NO", b"A BAD")

    async def _send(self, data, secret=b""):
        self._account.sending = self._account.sent + len(data)
        await self._connection.send(data)
        self._account.sent = self._account.sending
        self._sent.update(data.replace(secret, b"<redacted>") if secret else data)

    async def _until(self, *beginnings):
        while not (line := await self._line()).startswith(beginnings):
            if not line:
                raise EOFError

    async def _line(self):
        """The next line; empty at the end of the stream."""
        while b"\n" not in self._buffer:
            data = await self._connection.receive()
            if not data:
                self._account.ended = 1
                return b""
            self._received.update(data)
            self._account.received += len(data)
            self._buffer += data
        line, _, self._buffer = self._buffer.partition(b"\n")
        return line + b"\n"


if __name__ == "__main__":
    with open(sys.argv[1], encoding="utf-8") as file:
        clients = Clients(json.load(file), int(sys.argv[2]), float(sys.argv[3]))
    asyncio.run(clients.run())
