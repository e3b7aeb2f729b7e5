"""The server behind the relays, as a process that may be stopped and killed: backend.py SETTINGS PORT."""

import asyncio
import json
import socket
import sys

import accounts
from conversation import Conversation, Plain
from plans import HEADER, Text, plan


class Backend:
    def __init__(self, settings):
        self._settings = settings
        self._text = Text(settings["seed"])
        self._accounts = accounts.Accounts(settings["servers"])
        self._tasks = set()

    async def serve(self, port):
        listener = socket.create_server(("127.0.0.1", port), backlog=4096)
        listener.setblocking(False)
        loop = asyncio.get_running_loop()
        while True:
            sock, _ = await loop.sock_accept(listener)
            task = asyncio.ensure_future(self._session(sock))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _session(self, sock):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        loop = asyncio.get_running_loop()
        header = b""
        try:
            while len(header) < HEADER:
                data = await asyncio.wait_for(loop.sock_recv(sock, HEADER - len(header)), 300)
                if not data:
                    break
                header += data
        except (OSError, asyncio.TimeoutError):
            pass
        if len(header) < HEADER:
            sock.close()
            return
        number = int(header[1:])
        tls = self._settings["tls"][number % len(self._settings["tls"])]
        doing = plan(self._settings["seed"], number, tls)
        account = self._accounts[number]
        account.received = HEADER
        account.state = accounts.OPEN
        await Conversation(Plain(sock), doing.server, doing.client, self._text.stream(number, "out"),
                           self._text.stream(number, "in"), account).run()


if __name__ == "__main__":
    with open(sys.argv[1], encoding="utf-8") as file:
        backend = Backend(json.load(file))
    asyncio.run(backend.serve(int(sys.argv[2])))
