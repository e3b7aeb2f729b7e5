"""A collector for recordings: it keeps what each connection brings, may stall, die and come back on its port."""

import socket
import struct
import threading

from peers import DEADLINE, MIB, parse, spell
from relay import wait_until


class Stream:
    """What one connection brought so far."""

    def __init__(self, connection):
        self.connection = connection
        self.data = bytearray()
        self.ended = threading.Event()  # the relay ended it, or it broke


class Collector:
    """A context manager; `streams` holds one Stream for each connection, in the order of accepting.

    `greet`, when given, is called with each fresh connection before anything is read; it may return False when it
    has dealt with it.
    """

    def __init__(self, address=("127.0.0.1", 0), greet=None, receive_buffer=None):
        self._family, self._target = parse(address)
        self._greet = greet
        self._receive_buffer = receive_buffer
        self._reading = threading.Event()
        self._reading.set()
        self._lock = threading.Lock()
        self._listener = None
        self.streams = []
        self.start()
        self._target = self._listener.getsockname()
        self.address = spell(self._family, self._target)
        self.port = self._target[1]

    def start(self):
        """Listens, again on the same port when it was stopped."""
        listener = socket.socket(self._family, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if self._receive_buffer:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, self._receive_buffer)
        listener.bind(self._target)
        listener.listen(4096)
        self._listener = listener
        threading.Thread(target=self._accept, args=(listener,), daemon=True).start()

    def _accept(self, listener):
        while True:
            try:
                connection = listener.accept()[0]
            except OSError:
                return  # stopped
            # A thread that waited in the kernel would keep a connection that is to break.
            connection.settimeout(0.05)
            stream = Stream(connection)
            with self._lock:
                self.streams.append(stream)
            threading.Thread(target=self._read, args=(stream,), daemon=True).start()

    def _read(self, stream):
        try:
            if self._greet and self._greet(stream.connection) is False:
                return
            while True:
                if not self._reading.wait(DEADLINE):
                    return
                try:
                    data = stream.connection.recv(MIB)
                except TimeoutError:
                    continue
                if not data:
                    return
                stream.data += data
        except OSError:
            pass
        finally:
            stream.ended.set()

    @property
    def count(self):
        """Connections so far."""
        with self._lock:
            return len(self.streams)

    def wait(self, count, what="connections to the collector"):
        """Waits for so many connections, and returns all streams."""
        wait_until(lambda: self.count >= count, what=f"{count} {what}")
        with self._lock:
            return list(self.streams)

    def whole(self, number=0):
        """The bytes of a stream that the relay has ended."""
        stream = self.wait(number + 1)[number]
        if not stream.ended.wait(DEADLINE):
            raise AssertionError(f"stream {number} does not end")
        return bytes(stream.data)

    def stall(self):
        """Reads nothing more; what is being read just then still counts."""
        self._reading.clear()

    def resume(self):
        self._reading.set()

    def stop(self, abort=False):
        """Neither listens nor reads any more. With `abort` its connections break, otherwise they are ended."""
        try:
            self._listener.shutdown(socket.SHUT_RDWR)  # wakes the accept
        except OSError:
            pass
        self._listener.close()
        with self._lock:
            streams = list(self.streams)
        for stream in streams:
            try:
                if abort:
                    stream.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                stream.connection.close()
            except OSError:
                pass

    def close(self):
        self.resume()
        self.stop()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
