"""The PROXY protocol: headers from a proxy in front, and to the server behind."""

import imaplib
import os
import re
import shutil
import socket
import ssl
import struct
import subprocess
import tempfile
import time
import unittest

import dovecot
import tls
from dovecot import Dovecot
from peers import connect, echo, free_port, name_of, payload, receive_exactly, receive_until_end
from relay import wait_until
from tls import CERTIFICATES, Plain, Sealed, TLSTests

WHY_NOT = tls.why_unavailable()
SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
LINE = b"PROXY TCP4 192.0.2.7 198.51.100.25 4711 143\r\n"
LINE6 = b"PROXY TCP6 2001:db8::7 2001:db8::25 4711 143\r\n"
UNKNOWN = b"PROXY UNKNOWN\r\n"


def crc32c(data):
    value = 0xFFFFFFFF
    for byte in data:
        value ^= byte
        for _ in range(8):
            value = value >> 1 ^ (0x82F63B78 if value & 1 else 0)
    return value ^ 0xFFFFFFFF


def tlv(kind, value):
    return struct.pack(">BH", kind, len(value)) + value


def block(source="192.0.2.7", destination="198.51.100.25", ports=(4711, 143), command=0x21, tlvs=b"", checksum=None):
    """A header of version 2; `checksum` adds a CRC32C, a right one or a wrong one."""
    family = socket.AF_INET6 if ":" in source else socket.AF_INET
    addresses = socket.inet_pton(family, source) + socket.inet_pton(family, destination) + struct.pack(">HH", *ports)
    body = addresses + tlvs + (tlv(3, b"\0\0\0\0") if checksum else b"")
    header = SIGNATURE + struct.pack(">BBH", command, 0x21 if ":" in source else 0x11, len(body)) + body
    if checksum:
        value = crc32c(header) ^ (0 if checksum == "right" else 1)
        header = header[:-4] + struct.pack(">I", value)
    return header


def local():
    return SIGNATURE + struct.pack(">BBH", 0x20, 0, 0)


class Block:
    """A header of version 2, read from a connection."""

    def __init__(self, read):
        head = read(16)
        assert head[:12] == SIGNATURE, head
        self.command, self.family, size = struct.unpack(">BBH", head[12:])
        body = read(size)
        kind, length = (socket.AF_INET6, 16) if self.family >> 4 == 2 else (socket.AF_INET, 4)
        self.source = socket.inet_ntop(kind, body[:length])
        self.destination = socket.inet_ntop(kind, body[length:2 * length])
        self.ports = struct.unpack(">HH", body[2 * length:2 * length + 4])
        self.tlvs, rest = {}, body[2 * length + 4:]
        while rest:
            kind, length = struct.unpack(">BH", rest[:3])
            self.tlvs[kind] = rest[3:3 + length]
            rest = rest[3 + length:]


class ProxyTests(TLSTests):
    def trusting(self, server, *options, **keywords):
        return self.start(server, "--proxy-from", "127.0.0.0/8", *options, **keywords)

    def _refused(self, relay, header, words, end=False):
        """A session that ends with proxy-error, and nothing of it reaches the server."""
        before = len(relay.records("end"))
        client = self.client(relay)
        name = name_of(client)
        client.sendall(header)
        if end:
            client.shutdown(socket.SHUT_WR)
        data, _ = receive_until_end(client)
        self.assertEqual(data, b"")
        end = relay.wait_ends(before + 1)[-1]
        self.assertEqual((end["reason"], end["via"], end["in_bytes"], end["client"]),
                         ("proxy-error", None, 0, name))
        wait_until(lambda: re.search(words, relay.stderr.splitlines()[-1]), what=words)


class Accepted(ProxyTests):
    def test_who_the_client_is(self):
        listener = self.listener()
        relay = self.trusting(listener, "-I")
        tlvs = tlv(2, b"mail.test.invalid") + tlv(4, b"padding") + tlv(0xE0, b"own") + tlv(0x30, b"ns")
        for number, (header, client, via) in enumerate((
                (LINE, "192.0.2.7:4711", "proxy1"), (LINE6, "[2001:db8::7]:4711", "proxy1"),
                (UNKNOWN, None, "proxy1"),
                (b"PROXY UNKNOWN ffff:f...f:ffff ffff:f...f:ffff 65535 65535\r\n", None, "proxy1"),
                (block(), "192.0.2.7:4711", "proxy2"),
                (block("2001:db8::7", "2001:db8::25"), "[2001:db8::7]:4711", "proxy2"),
                (block(tlvs=tlvs), "192.0.2.7:4711", "proxy2"), (block(checksum="right"), "192.0.2.7:4711", "proxy2"),
                (block(tlvs=tlvs, checksum="right"), "192.0.2.7:4711", "proxy2"), (local(), None, "proxy2"),
                (block(tlvs=tlv(4, b"\0" * 3000)), "192.0.2.7:4711", "proxy2"))):
            with self.subTest(header[:60]):
                sock = self.client(relay)
                sock.sendall(header + b"hello")
                sock.shutdown(socket.SHUT_WR)
                server = listener.accept()
                self.assertEqual(receive_until_end(server), (b"hello", "eof"))
                server.close()
                end = relay.wait_ends(number + 1)[-1]
                self.assertEqual((end["client"], end["via"]), (client or name_of(sock), via))
                self.assertEqual((end["in_bytes"], relay.recording(end, "in")), (5, b"hello"))
                self.assertTrue(end["id"].startswith((client or "127.0.0.1:").rsplit(":", 1)[0].strip("[]") + "-"))

    def test_split_at_every_byte(self):
        server = self.serve(tls.ScriptedServer(echo))
        relay = self.trusting(server)
        count = 0
        for header in (LINE, LINE6, UNKNOWN, local(), block(tlvs=tlv(4, b"x")), block(checksum="right")):
            for place in range(1, len(header)):
                client = self.client(relay)
                client.sendall(header[:place])
                time.sleep(0.0005)  # most probably it is read by itself
                client.sendall(header[place:] + b"x")
                self.assertEqual(receive_exactly(client, 1), b"x")
                client.close()
                count += 1
        self.assertEqual({end["in_bytes"] for end in relay.wait_ends(count)}, {1})

    def test_a_byte_at_a_time(self):
        server = self.serve(tls.ScriptedServer(echo))
        relay = self.trusting(server)
        for header in (LINE, block(checksum="right")):
            client = self.client(relay)
            for place in range(len(header)):
                client.sendall(header[place:place + 1])
                time.sleep(0.0005)
            client.sendall(b"x")
            self.assertEqual(receive_exactly(client, 1), b"x")

    def test_only_goes_by_the_client_that_is_named(self):
        server = self.serve(tls.ScriptedServer(echo))
        relay = self.trusting(server, "--only", "192.0.2.0/24")
        for number, (header, recording) in enumerate(((LINE, "complete"), (LINE6, "none"), (block(), "complete"),
                                                      (UNKNOWN, "none"))):
            client = self.client(relay)
            client.sendall(header + b"x")
            receive_exactly(client, 1)
            client.close()
            self.assertEqual(relay.wait_ends(number + 1)[-1]["recording"], recording)

    def test_from_a_unix_socket(self):
        with tempfile.TemporaryDirectory() as directory:
            path = f"unix:{directory}/s"
            server = self.serve(tls.ScriptedServer(echo))
            relay = self.start(server, "--proxy-from", "unix", listen=(path,))
            with connect(path) as client:
                client.sendall(LINE + b"x")
                receive_exactly(client, 1)
            end = self.end(relay)
            self.assertEqual((end["client"], end["via"]), ("192.0.2.7:4711", "proxy1"))


class Refused(ProxyTests):
    def test_what_is_malformed(self):
        listener = self.listener()
        relay = self.trusting(listener)
        long_block = SIGNATURE + struct.pack(">BBH", 0x21, 0x11, 60_000) + b"\0" * 6000
        for header, words in (
                (b"EHLO me\r\n", "no PROXY header"), (b"\x16\x03\x01\x02\x00\x01", "no PROXY header"),
                (b"\n", "no PROXY"),
                (LINE.replace(b"TCP4", b"UDP4"), "protocol"),
                (LINE.replace(b"192.0.2.7", b"192.0.2.700"), "source address"),
                (LINE.replace(b"192.0.2.7", b"2001:db8::1"), "source address"),
                (LINE.replace(b"4711", b"65536"), "port"),
                (LINE.replace(b"4711", b"04711"), "PROXY line"),
                (b"PROXY TCP4 192.0.2.7\r\n", "PROXY line"), (LINE.replace(b"\r\n", b"\n\n"), "PROXY line"),
                (b"PROXY UNKNOWN " + b"x" * 200, "longer than 107 bytes"), (b"PROXY " * 50, "PROXY line"),
                (block(command=0x11), "version"), (block(command=0x2F), "command"),
                (block(checksum="wrong"), "checksum"),
                (block(tlvs=b"\x04\xff\xff"), "reaches beyond"), (long_block, "longer than 4096"),
                (block(tlvs=tlv(3, b"ab")), "4 bytes"), (block(tlvs=tlv(5, b"x" * 129)), "unique ID"),
                (SIGNATURE + struct.pack(">BBH", 0x21, 0x11, 4) + b"abcd", "too short")):
            with self.subTest(header[:60]):
                self._refused(relay, header + (b"hello" if len(header) < 1000 else b""), words)
        listener.socket.settimeout(0.05)
        with self.assertRaises(OSError):
            listener.socket.accept()  # the server was not even connected to

    def test_what_ends_early_or_is_late(self):
        listener = self.listener()
        relay = self.trusting(listener, "--handshake-timeout", "150ms")
        for header in (b"", b"PROXY", LINE[:-1], SIGNATURE, block()[:-1]):
            with self.subTest(header):
                self._refused(relay, header, "ended before|closed", end=True)
                self._refused(relay, header, "in time")

    def test_from_elsewhere(self):
        listener = self.listener()
        for header in (LINE, LINE6, UNKNOWN, block(), local(), block(checksum="wrong")):
            with self.subTest(header):
                relay = self.start(listener, "--proxy-from", "192.0.2.0/24")
                client = self.client(relay)
                client.sendall(header + b"hello")
                self.assertEqual(receive_until_end(client)[0], b"")
                end = self.end(relay)
                self.assertEqual((end["reason"], end["via"], end["in_bytes"]), ("proxy-error", None, 0))
                self.assertEqual(receive_until_end(listener.accept())[0], b"")
                relay.close()

    def test_others_are_greeted_at_once_and_only_a_prefix_is_held(self):
        listener = self.listener()
        relay = self.start(listener, "--proxy-from", "192.0.2.0/24", "--handshake-timeout", "1s")
        client, server = self.pair(relay, listener)
        server.sendall(b"220 hello\r\n")
        self.assertEqual(receive_exactly(client, 11), b"220 hello\r\n")
        client.sendall(b"PROX")
        server.settimeout(0.1)
        with self.assertRaises(TimeoutError):
            server.recv(1)
        server.settimeout(20)
        client.sendall(b"IMITY 1\r\n")
        self.assertEqual(receive_exactly(server, 13), b"PROXIMITY 1\r\n")
        client.sendall(LINE)  # not at the beginning: it is none
        self.assertEqual(receive_exactly(server, len(LINE)), LINE)
        self.finish(client, server)
        for prefix in (b"PRO", SIGNATURE[:5], b"\r"):
            client, server = self.pair(relay, listener)
            client.sendall(prefix)
            self.assertEqual(receive_exactly(server, len(prefix)), prefix)  # after the time
            client.sendall(b"rest")
            self.assertEqual(receive_exactly(server, 4), b"rest")
            self.finish(client, server)
            client, server = self.pair(relay, listener)
            client.sendall(prefix)
            client.shutdown(socket.SHUT_WR)
            self.assertEqual(receive_until_end(server)[0], prefix)
            server.close()
        self.assertEqual({end["reason"] for end in relay.wait_ends(7)}, {"client-eof"})

    def test_without_the_option_nothing_looks_for_one(self):
        listener = self.listener()
        relay = self.start(listener)
        client, server = self.pair(relay, listener)
        client.sendall(LINE + block())
        self.assertEqual(receive_exactly(server, len(LINE + block())), LINE + block())
        self.finish(client, server)


@unittest.skipIf(WHY_NOT, WHY_NOT)
class WithTLS(ProxyTests):
    def test_a_header_before_the_handshake(self):
        for header, via in ((LINE, "proxy1"), (block(checksum="right"), "proxy2"), (local(), "proxy2")):
            for together in (True, False):
                with self.subTest(header[:20], together=together):
                    relay = self.trusting(self.server(tls=True), *CERTIFICATES.pair(), *self.back())
                    sock = self.client(relay)
                    client = Sealed(sock, CERTIFICATES.client_context())
                    if together:
                        with self.assertRaises(ssl.SSLWantReadError):
                            client.object.do_handshake()
                        sock.sendall(header + client.take_flight())
                    else:
                        sock.sendall(header)
                    client.handshake()
                    client.write(b"hello")
                    self.assertEqual(client.read_exactly(5), b"hello")
                    client.close_notify()
                    client.read_to_end()
                    end = self.end(relay)
                    self.assertEqual((end["via"], end["tls"] is not None, end["in_bytes"]), (via, True, 5))
                    self.assertEqual(relay.recording(end, "in"), b"hello")
                    relay.close()

    def test_tls_instead_of_a_header_and_a_header_within_tls(self):
        relay = self.trusting(self.server(tls=False), *CERTIFICATES.pair())
        with self.assertRaises((ssl.SSLError, OSError)):
            self.peer(relay)
        self.assertEqual(self.end(relay)["reason"], "proxy-error")
        sock = self.client(relay)
        sock.sendall(LINE)
        client = Sealed(sock, CERTIFICATES.client_context()).handshake()
        client.write(LINE)
        self.assertEqual(client.read_exactly(len(LINE)), LINE)

    def test_each_has_its_own_time(self):
        relay = self.trusting(self.listener(), *CERTIFICATES.pair(), "--handshake-timeout", "150ms")
        for number, (sent, reason) in enumerate(((b"", "proxy-error"), (LINE, "tls-error"))):
            client = self.client(relay)
            client.sendall(sent)
            receive_until_end(client)
            end = relay.wait_ends(number + 1)[-1]
            self.assertEqual((end["reason"], end["via"]), (reason, "proxy1" if sent else None))

    def test_a_header_from_elsewhere_before_a_handshake(self):
        relay = self.start(self.listener(), *CERTIFICATES.pair(), "--proxy-from", "192.0.2.0/24")
        client = self.client(relay)
        client.sendall(LINE)
        self.assertEqual(receive_until_end(client)[0], b"")
        self.assertEqual(self.end(relay)["reason"], "proxy-error")

    def test_clients_from_elsewhere_with_tls(self):
        relay = self.start(self.server(tls=False), *CERTIFICATES.pair(), "--proxy-from", "192.0.2.0/24")
        client = self.peer(relay, piece=1)
        client.write(b"hello")
        self.assertEqual(client.read_exactly(5), b"hello")


@unittest.skipIf(WHY_NOT, WHY_NOT)
class Sent(ProxyTests):
    def _session(self, relay, listener, first=b"", front=False):
        """What the server is sent before `hello`, from a client that sends a header first."""
        sock = self.client(relay)
        sock.sendall(first)
        client = Sealed(sock, CERTIFICATES.client_context()).handshake() if front else Plain(sock)
        client.write(b"hello")
        server = listener.accept()
        self.addCleanup(server.close)
        return client if front else sock, server

    def test_a_line(self):
        listener = self.listener()
        relay = self.start(listener, "--send-proxy", "v1")
        sock, server = self._session(relay, listener)
        source, here = sock.getsockname(), sock.getpeername()
        wanted = b"PROXY TCP4 127.0.0.1 127.0.0.1 %d %d\r\nhello" % (source[1], here[1])
        self.assertEqual(receive_exactly(server, len(wanted)), wanted)
        relay = self.trusting(listener, "--send-proxy", "v1")
        for header, wanted in ((LINE, LINE), (LINE6, LINE6), (block(), LINE),
                               (block("2001:db8::7", "2001:db8::25"), LINE6)):
            _, server = self._session(relay, listener, header)
            self.assertEqual(receive_exactly(server, len(wanted) + 5), wanted + b"hello")

    def test_a_block(self):
        listener = self.listener()
        relay = self.trusting(listener, "--send-proxy", "v2")
        for number, (header, source) in enumerate(
                ((LINE, "192.0.2.7"), (block(), "192.0.2.7"), (LINE6, "2001:db8::7"))):
            _, server = self._session(relay, listener, header)
            sent = Block(lambda count: receive_exactly(server, count))
            self.assertEqual(receive_exactly(server, 5), b"hello")
            self.assertEqual((sent.command, sent.source, sent.ports), (0x21, source, (4711, 143)))
            starts = wait_until(lambda: relay.records("start")[number:], what="the start record")
            self.assertEqual(sent.tlvs, {5: starts[0]["id"].encode()})

    def test_tls_is_told_when_the_relay_has_it_or_was_told(self):
        listener = self.listener()
        inner = tlv(0x21, b"TLSv1.3") + tlv(0x23, b"TLS_AES_256_GCM_SHA384")
        given = struct.pack(">BI", 1, 0) + inner
        relay = self.trusting(listener, "--send-proxy", "v2")
        for header, wanted in ((block(tlvs=tlv(0x20, given)), given), (block(), None)):
            _, server = self._session(relay, listener, header)
            self.assertEqual(Block(lambda count: receive_exactly(server, count)).tlvs.get(0x20), wanted)
        relay = self.start(listener, "--send-proxy", "v2", *CERTIFICATES.pair())
        client, server = self._session(relay, listener, front=True)
        sent = Block(lambda count: receive_exactly(server, count))
        self.assertEqual(sent.tlvs[0x20][0] & 1, 1)
        self.assertIn(b"TLSv1.3", sent.tlvs[0x20])
        self.assertIn(client.object.cipher()[0].encode(), sent.tlvs[0x20])

    def test_before_tls_to_the_server_and_in_the_recording(self):
        listener = self.listener()
        relay = self.start(listener, "--send-proxy", "v1", "--leg", "back", *self.back())
        client = self.client(relay)
        server = listener.accept()
        line = b""
        while not line.endswith(b"\r\n"):
            line += receive_exactly(server, 1)
        self.assertRegex(line, rb"PROXY TCP4 127\.0\.0\.1 127\.0\.0\.1 \d+ \d+\r\n")
        peer = Sealed(server, CERTIFICATES.server_context(), server_side=True).handshake()
        client.sendall(b"hello")
        self.assertEqual(peer.read_exactly(5), b"hello")
        client.shutdown(socket.SHUT_WR)
        self.assertEqual(peer.read_to_end(), (b"", "clean"))
        peer.close_notify()
        peer.close()
        end = self.end(relay)
        self.assertEqual(relay.recording(end, "out"), line + b"hello")
        self.assertEqual(end["server_tls"]["version"], "TLSv1.3")


HAPROXY = """
defaults
  mode tcp
  timeout connect 5s
  timeout client 20s
  timeout server 20s
listen relay
  bind 127.0.0.1:{port}{tls}
  server behind 127.0.0.1:{relay} {options}
"""


@unittest.skipUnless(shutil.which("haproxy", path=os.environ.get("PATH", "PROXY line") + ":/usr/sbin"), "needs HAProxy")
@unittest.skipIf(WHY_NOT, WHY_NOT)
class HAProxyInFront(ProxyTests):
    def haproxy(self, relay, options, secured=False):
        """HAProxy before a relay; returns its port."""
        directory = tempfile.mkdtemp(prefix="haproxy-")
        self.addCleanup(shutil.rmtree, directory)
        both = ""
        if secured:
            both = f" ssl crt {directory}/both.pem"
            with open(f"{directory}/both.pem", "w", encoding="ascii") as file:
                for path in (CERTIFICATES.path("ecdsa"), CERTIFICATES.key("ecdsa")):
                    with open(path, encoding="ascii") as part:
                        file.write(part.read())
        port = free_port()
        with open(f"{directory}/c.cfg", "w", encoding="ascii") as file:
            file.write(HAPROXY.format(port=port, tls=both, relay=relay.port, options=options))
        process = subprocess.Popen(["/usr/sbin/haproxy", "-db", "-f", f"{directory}/c.cfg"], stdin=subprocess.DEVNULL,
                                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.addCleanup(process.wait, 20)
        self.addCleanup(process.kill)

        def listens():
            with open("/proc/net/tcp", encoding="ascii") as table:
                return f"0100007F:{port:04X} 00000000:0000 0A" in table.read()

        wait_until(listens, what="HAProxy")
        return port

    def test_each_kind_of_header(self):
        for options, via in (("send-proxy", "proxy1"), ("send-proxy-v2", "proxy2"),
                             ("send-proxy-v2 proxy-v2-options crc32c,unique-id", "proxy2"),
                             ("send-proxy-v2-ssl", "proxy2")):
            secured = options.endswith("ssl")
            with self.subTest(options):
                listener = self.listener()
                relay = self.trusting(listener, "--send-proxy", "v2")
                port = self.haproxy(relay, options, secured)
                sock = connect(("127.0.0.1", port), source=("127.0.0.7", 0))
                self.addCleanup(sock.close)
                client = Sealed(sock, CERTIFICATES.client_context()).handshake() if secured else Plain(sock)
                client.write(b"hello")
                server = listener.accept()
                sent = Block(lambda count: receive_exactly(server, count))
                self.assertEqual((sent.source, sent.ports), ("127.0.0.7", (sock.getsockname()[1], port)))
                self.assertEqual(0x20 in sent.tlvs, secured)
                self.assertEqual(receive_exactly(server, 5), b"hello")
                server.close()
                sock.close()
                end = self.end(relay)
                self.assertEqual((end["via"], end["client"]), (via, "127.0.0.7:%d" % sent.ports[0]))
                relay.close()

    def test_tls_is_passed_through_it(self):
        relay = self.trusting(self.server(tls=False), *CERTIFICATES.pair())
        port = self.haproxy(relay, "send-proxy-v2")
        data = payload(1, 300_000)
        sock = connect(("127.0.0.1", port), source=("127.0.0.7", 0))
        client = Sealed(sock, CERTIFICATES.client_context()).handshake()
        self.addCleanup(client.close)
        self.assertEqual(client.duplex(data, len(data)), data)
        client.close_notify()
        client.read_to_end()
        end = self.end(relay)
        self.assertEqual((end["via"], end["client"].split(":")[0], end["tls"]["sni"]),
                         ("proxy2", "127.0.0.7", "localhost"))


@unittest.skipIf(dovecot.why_unavailable(), dovecot.why_unavailable())
@unittest.skipIf(WHY_NOT, WHY_NOT)
class DovecotBehind(ProxyTests):
    def test_it_knows_the_client(self):
        with Dovecot(("imap",), haproxy=True, tls=True) as server:
            for number, (version, front) in enumerate((("v1", False), ("v2", False), ("v2", True), ("v1", False))):
                asks = number == 3
                with self.subTest(version=version, front=front, asks=asks):
                    relay = self.start("127.0.0.1:%d" % server.proxied_ports["imap"], "--protocol", "imap",
                                       "--send-proxy", version, *(CERTIFICATES.pair() if front else ()),
                                       *(("--proxy-from", "127.0.0.0/8") if number else ()),
                                       *(("--connect-tls", "starttls", "--connect-ca", server.certificate)
                                         if asks else ()))
                    sock = connect(relay.address, source=(f"127.0.0.{60 + number}", 0))
                    self.addCleanup(sock.close)
                    if number:
                        sock.sendall(LINE.replace(b"192.0.2.7", b"192.0.2.%d" % (60 + number)))
                    context = CERTIFICATES.client_context()
                    client = imaplib_over(context.wrap_socket(sock, server_hostname="localhost") if front else sock)
                    client.login(server.user, server.password)
                    client.logout()
                    self.assertEqual((self.end(relay)["user"], self.end(relay)["login"]), ("alice", "ok"))
                    address = f"192.0.2.{60 + number}" if number else "127.0.0.60"
                    wait_until(lambda: f"rip={address}," in server.log(), what="Dovecot's line")


def imaplib_over(sock):
    """An IMAP client on a connection that is there already."""

    class Client(imaplib.IMAP4):
        def _create_socket(self, timeout):
            return sock

    return Client("localhost")


if __name__ == "__main__":
    unittest.main()
