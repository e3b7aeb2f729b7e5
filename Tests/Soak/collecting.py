"""A collector of recordings, as a process that may be stopped and killed: collecting.py DIRECTORY PORT.

Each connection is a file that grows as bytes come; its name ends in `.whole` once the relay has ended the stream."""

import asyncio
import itertools
import os
import socket
import sys


async def take(sock, path):
    loop = asyncio.get_running_loop()
    with sock, open(path, "wb", buffering=0) as file:
        try:
            while data := await loop.sock_recv(sock, 1 << 18):
                file.write(data)
        except OSError:
            return
    os.rename(path, path + ".whole")


async def collect(directory, port):
    listener = socket.create_server(("127.0.0.1", port), backlog=4096)
    listener.setblocking(False)
    tasks = set()
    for number in itertools.count():
        sock, _ = await asyncio.get_running_loop().sock_accept(listener)
        task = asyncio.ensure_future(take(sock, os.path.join(directory, f"{os.getpid()}.{number}")))
        tasks.add(task)
        task.add_done_callback(tasks.discard)


if __name__ == "__main__":
    asyncio.run(collect(sys.argv[1], int(sys.argv[2])))
