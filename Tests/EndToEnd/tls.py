"""Certificates, and peers that speak TLS with every byte in the test's hands."""

import atexit
import os
import re
import select
import shutil
import socket
import ssl
import subprocess
import tempfile

from peers import DEADLINE, EndToEnd, ScriptedServer, Task
from relay import wait_until

NAMES = "subjectAltName=DNS:localhost,IP:127.0.0.1"
_CURVE = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1")
_RSA = ("-newkey", "rsa:2048")


def why_unavailable():
    """A reason to skip the tests that need certificates, or None."""
    return None if shutil.which("openssl") else "openssl is not installed (Debian: openssl)"


def openssl(*arguments, **keywords):
    """Runs openssl to its end, and returns what it wrote."""
    done = subprocess.run(["openssl", *arguments], stdin=keywords.pop("stdin", subprocess.DEVNULL), capture_output=True,
                          timeout=60, check=False, **keywords)
    if done.returncode != 0:
        raise AssertionError(f"openssl {' '.join(arguments)}: {done.stderr.decode('utf-8', 'replace')}")
    return done.stdout


class Certificates:
    """Certificates in one directory, each made when it is first asked for: `path` is the file with `name`.pem, and
    `key` that with its key. `authority` signs `ecdsa`, `rsa`, `othername` and `expired`; `intermediate`, signed by it,
    signs `chain`, whose file has both. `selfsigned` stands alone."""

    password = "key-pass-word-4711"

    def __init__(self):
        self.directory = tempfile.mkdtemp(prefix="uring-rawlog-tls-")
        os.chmod(self.directory, 0o755)
        atexit.register(shutil.rmtree, self.directory, True)

    def _file(self, name):
        return os.path.join(self.directory, name)

    def path(self, name):
        path = self._file(name + ".pem")
        if not os.path.exists(path):
            self._make(name)
        return path

    def key(self, name):
        self.path(name)
        return self._file(name + ".key")

    def pair(self, name="ecdsa"):
        """The options for a relay that is this server."""
        return ("--tls-cert", self.path(name), "--tls-key", self.key(name))

    def _make(self, name):
        if name == "authority":
            self._self_sign(name, "/CN=Test Authority", "basicConstraints=critical,CA:TRUE")
        elif name == "selfsigned":
            self._self_sign(name, "/CN=alone", NAMES)
        elif name == "intermediate":
            self._sign(name, "authority", "/CN=Test Intermediate", "basicConstraints=critical,CA:TRUE")
        elif name == "chain":
            self._sign(name, "intermediate", "/CN=localhost", NAMES)
            with open(self.path("intermediate"), "rb") as authority, open(self._file("chain.pem"), "ab") as file:
                file.write(authority.read())
        elif name == "rsa":
            self._sign(name, "authority", "/CN=localhost", NAMES, kind=_RSA)
        elif name == "othername":
            self._sign(name, "authority", "/CN=other.test.invalid", "subjectAltName=DNS:other.test.invalid")
        elif name == "expired":
            self._sign(name, "authority", "/CN=localhost", NAMES, dates=("20200101000000Z", "20200102000000Z"))
        else:
            self._sign(name, "authority", "/CN=localhost", NAMES)

    def _self_sign(self, name, subject, extension):
        openssl("req", "-x509", *_CURVE, "-nodes", "-days", "2", "-subj", subject, "-addext", extension,
                "-keyout", self._file(name + ".key"), "-out", self._file(name + ".pem"))

    def _sign(self, name, signer, subject, extension, kind=_CURVE, dates=None):
        request, extensions = self._file(name + ".csr"), self._file(name + ".ext")
        openssl("req", *kind, "-nodes", "-subj", subject, "-keyout", self._file(name + ".key"), "-out", request)
        with open(extensions, "w", encoding="ascii") as file:
            file.write(extension + "\n")
        signed = ("-in", request, "-out", self._file(name + ".pem"), "-extfile", extensions)
        by = (self.path(signer), self.key(signer))
        if dates is None:
            openssl("x509", "-req", *signed, "-CA", by[0], "-CAkey", by[1], "-CAcreateserial", "-days", "2")
            return
        # Only this command signs for any time.
        configuration = self._file(name + ".conf")
        with open(configuration, "w", encoding="ascii") as file:
            file.write(f"[ca]\ndefault_ca=a\n[a]\nnew_certs_dir={self.directory}\ndatabase={self._file('index.txt')}\n"
                       "default_md=sha256\npolicy=p\nrand_serial=yes\n[p]\ncommonName=supplied\n")
        open(self._file("index.txt"), "ab").close()
        openssl("ca", "-batch", "-notext", "-config", configuration, *signed, "-cert", by[0], "-keyfile", by[1],
                "-startdate", dates[0], "-enddate", dates[1])

    def in_place_of(self, path):
        """The file that stands for one that the documents name; any other word as it is."""
        if path == "/etc/ssl/mail.pem":
            return self.path("ecdsa")
        return self.key("ecdsa") if path == "/etc/ssl/private/mail.key" else path

    def encrypted_key(self, name="ecdsa"):
        """The key of a certificate, encrypted, and a file with its password."""
        path, password = self._file(name + ".locked"), self._file(name + ".password")
        openssl("pkey", "-in", self.key(name), "-aes256", "-passout", "pass:" + self.password, "-out", path)
        with open(password, "w", encoding="ascii") as file:
            file.write(self.password + "\n")
        return path, password

    def server_context(self, name="ecdsa", version=None):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.path(name), self.key(name))
        return _limited(context, version)

    def client_context(self, version=None):
        return _limited(ssl.create_default_context(cafile=self.path("authority")), version)


def _limited(context, version):
    """Only this version ('1.2' or '1.3'), when one is given."""
    if version:
        context.minimum_version = context.maximum_version = getattr(ssl.TLSVersion, "TLSv" + version.replace(".", "_"))
    return context


CERTIFICATES = Certificates()


class Sealed:
    """TLS over a socket, driven by hand: what is sent can be cut into pieces, and each direction ends by itself.

    `piece` is how many bytes go in each segment.
    """

    def __init__(self, sock, context, server_side=False, name="localhost", piece=None, session=None):
        self.socket = sock
        self.piece = piece
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.object = context.wrap_bio(self._incoming, self._outgoing, server_side=server_side,
                                       server_hostname=None if server_side else name, session=session)

    def flush(self):
        data = self._outgoing.read()
        step = self.piece or max(1, len(data))
        for place in range(0, len(data), step):
            self.socket.sendall(data[place:place + step])

    def take_flight(self):
        """What would be sent now, taken away from what is sent."""
        return self._outgoing.read()

    def feed(self, data):
        """Ciphertext of the peer; nothing is its end."""
        if data:
            self._incoming.write(data)
        else:
            self._incoming.write_eof()

    def _run(self, call):
        while True:
            try:
                result = call()
                self.flush()
                return result
            except ssl.SSLWantReadError:
                self.flush()
            except ssl.SSLError:
                try:
                    self.flush()  # the alert
                except OSError:
                    pass
                raise
            self.feed(self.socket.recv(65536))

    def handshake(self):
        self._run(self.object.do_handshake)
        return self

    def write(self, data):
        view = memoryview(data)
        while view:
            view = view[self._run(lambda: self.object.write(view[:16384])):]

    def read(self, count=65536):
        """Some plaintext; nothing when the peer said that it ends."""
        try:
            return self._run(lambda: self.object.read(count))
        except ssl.SSLZeroReturnError:
            return b""

    def read_exactly(self, count):
        data = bytearray()
        while len(data) < count:
            part = self.read(count - len(data))
            if not part:
                raise AssertionError(f"the stream ended {count - len(data)} bytes early, after {bytes(data[-200:])}")
            data += part
        return bytes(data)

    def read_line(self):
        data = bytearray()
        while not data.endswith(b"\n"):
            part = self.read(1)
            if not part:
                break
            data += part
        return bytes(data)

    def read_to_end(self):
        """Everything, and how it ended: `clean`, `cut` or `reset`."""
        data = bytearray()
        while True:
            try:
                part = self.read()
            except ssl.SSLEOFError:
                return bytes(data), "cut"
            except (ConnectionResetError, BrokenPipeError):
                return bytes(data), "reset"
            if not part:
                return bytes(data), "clean"
            data += part

    def close_notify(self):
        """Ends this side's direction; the other one goes on."""
        try:
            self.object.unwrap()
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLError as error:
            # What the peer sends meanwhile is still to be read; close_notify is on its way all the same.
            if "APPLICATION_DATA_AFTER_CLOSE_NOTIFY" not in str(error):
                raise
        self.flush()

    def duplex(self, data, count):
        """Sends `data` and receives `count` bytes at the same time."""
        received, view = bytearray(), memoryview(data)
        waiting = memoryview(b"")
        self.socket.setblocking(False)
        try:
            while len(received) < count or view or waiting:
                waiting, view = self._seal_some(waiting, view)
                ready = select.select([self.socket] if len(received) < count else [], [self.socket] if waiting else [],
                                      [], DEADLINE)
                if not ready[0] and not ready[1]:
                    raise AssertionError(f"nothing moves after {len(received)} of {count} bytes")
                if ready[1]:
                    waiting = waiting[self.socket.send(waiting):]
                if ready[0]:
                    self.feed(self.socket.recv(262144))
                    self._open_all(received)
        finally:
            self.socket.settimeout(DEADLINE)
        return bytes(received)

    def _seal_some(self, waiting, view):
        if not waiting:
            if view:
                view = view[self.object.write(view[:131072]):]
            waiting = memoryview(self._outgoing.read())
        return waiting, view

    def _open_all(self, received):
        try:
            while True:
                part = self.object.read(262144)
                if not part:
                    raise AssertionError("the stream ended")
                received += part
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLZeroReturnError:
            raise AssertionError(f"the stream ended after {len(received)} bytes") from None

    def close(self):
        self.socket.close()


class Plain:
    """The same calls for a connection in the clear."""

    def __init__(self, sock):
        self.socket = sock

    def write(self, data):
        self.socket.sendall(data)

    def read(self, count=65536):
        return self.socket.recv(count)

    read_exactly = Sealed.read_exactly
    read_line = Sealed.read_line

    def read_to_end(self):
        data = bytearray()
        while True:
            try:
                part = self.read()
            except (ConnectionResetError, BrokenPipeError):
                return bytes(data), "reset"
            if not part:
                return bytes(data), "clean"
            data += part

    def close_notify(self):
        self.socket.shutdown(socket.SHUT_WR)

    def close(self):
        self.socket.close()


def echo(peer):
    """Sends back whatever comes, and ends cleanly when the peer does."""
    while True:
        data = peer.read()
        if not data:
            peer.close_notify()
            return
        peer.write(data)


class TLSServer(ScriptedServer):
    """Runs `script(peer)` for each connection, which has TLS when there is a context."""

    def __init__(self, script, context=None, **keywords):
        def run(connection):
            if context is None:
                script(Plain(connection))
                return
            try:
                peer = Sealed(connection, context, server_side=True).handshake()
                script(peer)
            except ssl.SSLError as error:
                # What a broken handshake or a cut is to the client is what the tests look at.
                self.failures.append(error)

        self.failures = []
        super().__init__(run, **keywords)


class TLSTests(EndToEnd):
    """A relay between a client and a server, each with TLS or without."""

    certificates = CERTIFICATES

    def echoed(self, client, data):
        """What comes back of a server that echoes, to a client that ends its stream behind it."""
        if isinstance(client, Sealed):
            received = client.duplex(data, len(data))
        else:
            sender = Task(client.write, data)
            received = client.read_exactly(len(data))
            sender.result()
        client.close_notify()
        self.assertEqual(client.read_to_end(), (b"", "clean"))
        return received

    def start(self, connect_to, *options, **keywords):
        # Hundreds of sessions, each of which is waited for in the index.
        return super().start(connect_to, "--flush", "5", *options, **keywords)

    def back(self, *options):
        return ("--connect-tls", "implicit", "--connect-ca", self.certificates.path("authority"), *options)

    def server(self, script=echo, tls=True, certificate="ecdsa", version=None):
        context = self.certificates.server_context(certificate, version) if tls else None
        return self.serve(TLSServer(script, context))

    def between(self, front, back, *options, script=echo, certificate="ecdsa", **keywords):
        """A relay with a server behind it; front and back say whether that leg has TLS."""
        return self.start(self.server(script, back), *(self.certificates.pair(certificate) if front else ()),
                          *(self.back() if back else ()), *options, **keywords)

    def peer(self, relay, tls=True, version=None, context=None, **keywords):
        """A connected client; with TLS its handshake is over."""
        sock = self.client(relay)
        if not tls:
            return Plain(sock)
        return Sealed(sock, context or self.certificates.client_context(version), **keywords).handshake()

    def said(self, relay, words):
        """Waits until the relay has said this, a regular expression."""
        wait_until(lambda: re.search(words, relay.stderr), what=f"'{words}' among {relay.lines}")

    def end(self, relay, count=1):
        """The last of so many end records."""
        return relay.wait_ends(count)[-1]
