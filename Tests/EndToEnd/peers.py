"""Clients and servers for the end-to-end tests.

Every socket made here has a deadline, so that a fault of the program ends in a failure and not in a
test that hangs. Buffers are large and digests are taken outside the interpreter's lock, so that Python
is seldom what limits a transfer.
"""

import fcntl
import hashlib
import math
import os
import random
import re
import resource
import signal
import socket
import struct
import termios
import threading
import time
import unittest

from relay import Relay, wait_until

MIB = 1 << 20
DEADLINE = 30  # seconds that one socket operation may take before a test fails
BLOCK = 1_000_003  # prime: no buffer of the program is a multiple of it, so a slip of a whole buffer shows


def _raise_descriptor_limit():
    # Hundreds of sessions at once need two sockets each on this side, more than the customary 1024.
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard == resource.RLIM_INFINITY:
        hard = 1 << 20
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


DESCRIPTORS = _raise_descriptor_limit()
# A thousand threads with the customary 8 MiB of stack are refused where address space is limited.
threading.stack_size(MIB)


def has_ipv6():
    """Whether ::1 can be bound: containers often have no IPv6 at all."""
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_STREAM) as sock:
            sock.bind(("::1", 0))
        return True
    except OSError:
        return False


def free_port(family=socket.AF_INET):
    """A port that nobody listens on at the moment."""
    with socket.socket(family, socket.SOCK_STREAM) as sock:
        sock.bind(("::1" if family == socket.AF_INET6 else "127.0.0.1", 0))
        return sock.getsockname()[1]


# Addresses: as the program spells them, `ip:port`, `[v6]:port` or `unix:/path`.

def parse(address):
    """Family and socket address of a spelt address; a pair is taken as IPv4 or IPv6."""
    if isinstance(address, tuple):
        return (socket.AF_INET6 if ":" in address[0] else socket.AF_INET), address
    if address.startswith("unix:"):
        return socket.AF_UNIX, address[5:]
    host, port = address.rsplit(":", 1)
    if host.startswith("["):
        return socket.AF_INET6, (host[1:-1], int(port))
    return socket.AF_INET, (host, int(port))


def spell(family, address):
    if family == socket.AF_UNIX:
        return "unix:" + address
    if family == socket.AF_INET6:
        return f"[{address[0]}]:{address[1]}"
    return f"{address[0]}:{address[1]}"


def name_of(sock):
    """The socket's own address as the program spells it in the index."""
    return spell(sock.family, sock.getsockname())


def _prepare(sock, receive_buffer, send_buffer):
    # Set before connect or listen: the window that is offered depends on it. Either also turns the
    # kernel's own tuning off, which makes "how much can be under way" a small, known number.
    if receive_buffer:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    if send_buffer:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, send_buffer)


def _connected(sock, timeout):
    sock.settimeout(timeout)
    if sock.family != socket.AF_UNIX:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock


def connect(address, source=None, receive_buffer=None, send_buffer=None, timeout=DEADLINE):
    """A connected client."""
    family, target = parse(address)
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        _prepare(sock, receive_buffer, send_buffer)
        if source:
            sock.bind(source)
        sock.settimeout(timeout)
        sock.connect(target)
        return _connected(sock, timeout)
    except BaseException:
        sock.close()
        raise


def reset(sock):
    """Closes with a RST instead of a FIN."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


def unacknowledged(sock):
    """Bytes sent which the other kernel has not taken yet: a RST would throw these away."""
    return struct.unpack("i", fcntl.ioctl(sock, termios.TIOCOUTQ, b"\0\0\0\0"))[0]


# Bytes.

def payload(seed, size):
    """The same `size` bytes for the same seed."""
    return random.Random(seed).randbytes(size)


def chunks(data, seed, largest=65536):
    """Cuts `data` at places drawn from the seed; sizes spread evenly over the orders of magnitude."""
    draw = random.Random(seed)
    position = 0
    view = memoryview(data)
    while position < len(view):
        size = int(2 ** draw.uniform(0, math.log2(largest)))
        yield view[position:position + size]
        position += size


def pattern(seed, size):
    """Views that add up to `size` bytes, cheap to make; each block begins with its own number."""
    block = bytearray(payload(seed, BLOCK))
    number = 0
    while size > 0:
        block[:8] = struct.pack(">Q", number)
        view = memoryview(block)[:size]
        yield view
        size -= len(view)
        number += 1


def digest(data):
    return hashlib.sha256(data).hexdigest()


def pattern_digest(seed, size):
    total = hashlib.sha256()
    for view in pattern(seed, size):
        total.update(view)
    return total.hexdigest()


def file_digest(path):
    total = hashlib.sha256()
    with open(path, "rb") as file:
        while True:
            data = file.read(MIB)
            if not data:
                return total.hexdigest()
            total.update(data)


def send_pattern(sock, seed, size, progress=None, end=True):
    """Sends the pattern, then (unless told otherwise) shuts down writing; returns its digest.

    `progress`, a list of one number, is kept at what the kernel has accepted so far.
    """
    total = hashlib.sha256()
    for view in pattern(seed, size):
        total.update(view)
        while view:
            count = sock.send(view)
            view = view[count:]
            if progress is not None:
                progress[0] += count
    if end:
        sock.shutdown(socket.SHUT_WR)
    return total.hexdigest()


def receive_digest(sock, size=None):
    """Reads `size` bytes, or to the end, and returns how many came and their digest."""
    total = hashlib.sha256()
    buffer = bytearray(MIB)
    view = memoryview(buffer)
    received = 0
    while size is None or received < size:
        count = sock.recv_into(view if size is None else view[:min(MIB, size - received)])
        if count == 0:
            break
        total.update(view[:count])
        received += count
    return received, total.hexdigest()


def send_chunks(sock, data, seed, largest=65536, end=True):
    for chunk in chunks(data, seed, largest):
        sock.sendall(chunk)
    if end:
        sock.shutdown(socket.SHUT_WR)


def receive_exactly(sock, size):
    data = bytearray(size)
    view = memoryview(data)
    while view:
        count = sock.recv_into(view)
        if count == 0:
            raise AssertionError(f"the stream ended {len(view)} bytes early")
        view = view[count:]
    return bytes(data)


def receive_until_end(sock):
    """Everything up to the end of the stream, and how it ended: `eof` or `reset`."""
    data = bytearray()
    while True:
        try:
            part = sock.recv(MIB)
        except (ConnectionResetError, BrokenPipeError):
            return bytes(data), "reset"
        if not part:
            return bytes(data), "eof"
        data += part


def receive_all(sock):
    """Everything up to the end of the stream, which must be a clean one."""
    data, end = receive_until_end(sock)
    if end != "eof":
        raise AssertionError(f"the stream ended with a reset after {len(data)} bytes")
    return data


def wait_stalled(read, seconds=1.0, most=DEADLINE):
    """Waits until the number that `read()` returns has not moved for `seconds`; returns it."""
    end = time.monotonic() + most
    last, since = read(), time.monotonic()
    while time.monotonic() - since < seconds:
        if time.monotonic() > end:
            raise AssertionError(f"still moving after {most} seconds, at {last}")
        time.sleep(0.05)
        value = read()
        if value != last:
            last, since = value, time.monotonic()
    return last


class Task:
    """A function in a thread of its own; its result or its exception comes out of `result`."""

    def __init__(self, function, *arguments, **keywords):
        self._value = None
        self._error = None
        self._call = lambda: function(*arguments, **keywords)
        # A daemon: what a failed test leaves behind must not keep the test run alive.
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self):
        try:
            self._value = self._call()
        except BaseException as error:  # handed over to whoever asks for the result
            self._error = error

    @property
    def done(self):
        return not self._thread.is_alive()

    def result(self, timeout=2 * DEADLINE):
        self._thread.join(timeout)
        if self._thread.is_alive():
            raise AssertionError("a peer of the test did not come to its end")
        if self._error is not None:
            raise self._error
        return self._value


def all_results(tasks):
    return [task.result() for task in tasks]


class Listener:
    """A listening server whose connections the test accepts itself. A context manager."""

    def __init__(self, address=("127.0.0.1", 0), backlog=1024, receive_buffer=None, send_buffer=None):
        self.family, target = parse(address)
        self.socket = socket.socket(self.family, socket.SOCK_STREAM)
        self.path = target if self.family == socket.AF_UNIX else None
        _prepare(self.socket, receive_buffer, send_buffer)
        if self.path is None:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(target)
        self.socket.listen(backlog)
        self.address = spell(self.family, self.socket.getsockname())
        self.port = self.socket.getsockname()[1] if self.path is None else None

    def accept(self, timeout=DEADLINE):
        self.socket.settimeout(timeout)
        return _connected(self.socket.accept()[0], DEADLINE)

    def close(self):
        self.socket.close()
        if self.path and os.path.exists(self.path):
            os.unlink(self.path)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


class ScriptedServer(Listener):
    """Runs `script(connection)` in a thread for every connection, and closes the connection afterwards.

    An assertion that fails in a script fails the test at `close`; an error of the socket does not (the
    test sees that from its own end of the session).
    """

    def __init__(self, script, **keywords):
        super().__init__(**keywords)
        self._script = script
        self._lock = threading.Lock()
        self._open = set()
        self._threads = []
        self.accepted = 0
        self.errors = []
        self._acceptor = threading.Thread(target=self._accept, daemon=True)
        self._acceptor.start()

    def _accept(self):
        while True:
            try:
                connection = self.socket.accept()[0]
            except OSError:
                return  # closed
            _connected(connection, DEADLINE)
            thread = threading.Thread(target=self._serve, args=(connection,), daemon=True)
            with self._lock:
                self.accepted += 1
                self._open.add(connection)
                if len(self._threads) >= 1000:
                    self._threads = [t for t in self._threads if t.is_alive()]
                self._threads.append(thread)
                thread.start()

    def _serve(self, connection):
        try:
            self._script(connection)
        except OSError:
            pass
        except BaseException as error:
            self.errors.append(error)
        finally:
            with self._lock:
                self._open.discard(connection)
            connection.close()

    @property
    def active(self):
        """Connections whose script has not come to its end."""
        with self._lock:
            return len(self._open)

    def close(self):
        try:
            self.socket.shutdown(socket.SHUT_RDWR)  # wakes the accept
        except OSError:
            pass
        super().close()
        self._acceptor.join(DEADLINE)
        with self._lock:
            left, threads = list(self._open), list(self._threads)
        for connection in left:
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
        for thread in threads:
            thread.join(DEADLINE)
        if self.errors:
            raise self.errors[0]

    def __exit__(self, kind, *_):
        try:
            self.close()
        except BaseException:
            if kind is None:
                raise  # otherwise the test has failed already, and its own error says more


def echo(connection):
    """Sends back whatever comes, until the client has shut down writing."""
    buffer = bytearray(256 * 1024)
    view = memoryview(buffer)
    while True:
        count = connection.recv_into(view)
        if count == 0:
            return
        connection.sendall(view[:count])


class EchoServer(ScriptedServer):
    def __init__(self, **keywords):
        super().__init__(echo, **keywords)


class EndToEnd(unittest.TestCase):
    """What most tests need: a relay, a server and connections, all closed when the test is over."""

    def start(self, connect_to, *options, **keywords):
        """A relay; `connect_to` is an address or something that has one."""
        relay = Relay(getattr(connect_to, "address", connect_to), *options, **keywords)
        self.addCleanup(self._finish, relay)
        return relay

    def _finish(self, relay):
        ended = relay.process.poll()
        relay.close()
        # Whatever a test is about: no crash, and nothing on standard error that is not a message.
        self.assertNotIn(ended, (-signal.SIGSEGV, -signal.SIGILL, -signal.SIGABRT, -signal.SIGBUS, -signal.SIGTRAP),
                         f"the relay crashed: {relay.stderr}")
        for line in relay.lines:
            self.assertTrue(line.startswith("uring-rawlog: "), f"not a message: {line}")

    def refused_port(self):
        """A port that refuses connections for the whole test: taken, so that nobody else gets it, but not listening."""
        sock = socket.socket()
        self.addCleanup(sock.close)
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]

    def serve(self, server):
        """Closes the server when the test is over; what failed in a script of it fails the test."""
        self.addCleanup(server.close)
        return server

    def listener(self, **keywords):
        return self.serve(Listener(**keywords))

    def client(self, relay, **keywords):
        sock = connect(relay.address if isinstance(relay, Relay) else relay, **keywords)
        self.addCleanup(sock.close)
        return sock

    def pair(self, relay, listener, **keywords):
        """A session: the client's socket and the server's."""
        client = self.client(relay, **keywords)
        server = listener.accept()
        self.addCleanup(server.close)
        return client, server

    def finish(self, client, server):
        """Ends a session from the client's side: the server closes when it has seen that end, so that which
        one came first is no matter of chance."""
        client.close()
        receive_until_end(server)
        server.close()

    def exchange(self, address, data=b"hello\r\n"):
        """A whole short session with a server that echoes."""
        with connect(address) as client:
            client.sendall(data)
            self.assertEqual(receive_exactly(client, len(data)), data)
            client.shutdown(socket.SHUT_WR)
            self.assertEqual(receive_all(client), b"")

    def lines_about(self, relay, record):
        """To be asked when the relay has ended: only then have all its messages been read."""
        stem = re.compile(re.escape(record["id"]) + r"(?!\d)")  # session 1 is not session 10
        return [line for line in relay.lines if stem.search(line)]

    def exchange_named(self, relay, data, seed=1):
        """A session with an echo server, whole, sent in chunks by a seed; returns the client's name."""
        with connect(relay.address) as client:
            sending = Task(send_chunks, client, data, seed)
            self.assertTrue(receive_all(client) == data, "what came back differs")
            sending.result()
            return name_of(client)

    def wait_refused(self, address):
        """Waits until nobody listens on `address` any more."""
        def refused():
            try:
                connect(address).close()
                return False
            except (ConnectionRefusedError, ConnectionResetError, FileNotFoundError):
                return True
        wait_until(refused, what="connections to be refused")

    def end_of(self, relay, client_name, seconds=30):
        """The end record of the session of one client, waited for."""
        def find():
            found = [r for r in relay.records("end") if r["client"] == client_name]
            return found[0] if found else None
        return wait_until(find, seconds, f"the end record of {client_name}")
