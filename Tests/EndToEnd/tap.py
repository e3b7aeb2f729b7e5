"""A plain TCP relay beside which the recorder is judged: it keeps exactly the bytes that it saw."""

import socket
import struct
import threading

from relay import wait_until


class TapConnection:
    """One connection through the tap. What a side sent is noted before it is passed on."""

    def __init__(self, client, server):
        self.from_client = bytearray()
        self.from_server = bytearray()
        self._client = client
        self._server = server
        self._threads = [
            threading.Thread(target=self._pump, args=(client, server, self.from_client), daemon=True),
            threading.Thread(target=self._pump, args=(server, client, self.from_server), daemon=True),
        ]
        self._lock = threading.Lock()
        self._pumping = len(self._threads)
        self.finished = threading.Event()

    def start(self):
        for thread in self._threads:
            thread.start()

    def _pump(self, source, target, seen):
        try:
            while True:
                data = source.recv(65536)
                if not data:
                    break
                seen += data
                target.sendall(data)
            # Only this direction has ended: the other may go on for as long as it likes.
            target.shutdown(socket.SHUT_WR)
        except OSError:
            self._reset()
        with self._lock:
            self._pumping -= 1
            last = self._pumping == 0
        if last:
            self._client.close()
            self._server.close()
            self.finished.set()

    def _reset(self):
        """Makes the closes to come a reset on both sides, as one peer's reset would be without the tap."""
        for side in (self._client, self._server):
            try:
                side.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                # Wakes the other pump without a FIN, so that its peer sees the reset and no end of file.
                side.shutdown(socket.SHUT_RD)
            except OSError:
                pass

    def abort(self):
        for side in (self._client, self._server):
            try:
                side.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass


class Tap:
    """Relays connections to `server`, an address pair; a context manager.

    `connections` holds a TapConnection for each connection, in the order of accepting.
    """

    def __init__(self, server):
        self.server = server
        self.connections = []
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.address = self._listener.getsockname()
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    @property
    def name(self):
        """The address as the program's options spell it."""
        return "%s:%d" % self.address

    def _accept(self):
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            try:
                server = socket.create_connection(self.server)
            except OSError:
                client.close()
                continue
            for side in (client, server):
                side.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection = TapConnection(client, server)
            self.connections.append(connection)
            connection.start()

    def wait_finished(self, count):
        """Waits until `count` connections have ended on both sides, and returns all."""
        wait_until(lambda: sum(c.finished.is_set() for c in self.connections) >= count,
                   what=f"{count} connections through the tap to end")
        return self.connections

    def close(self):
        # Closing alone would not wake the thread that waits in accept.
        self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join(10)
        self._listener.close()
        for connection in self.connections:
            connection.abort()
            connection.finished.wait(10)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
