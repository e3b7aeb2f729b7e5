"""Real mail clients, the recorder and a real Dovecot; the recording must equal what a tap beside it saw."""

import base64
import concurrent.futures
import contextlib
import imaplib
import os
import poplib
import random
import re
import smtplib
import socket
import stat
import struct
import threading
import time
import unittest

import dovecot
from dovecot import Dovecot, SmtpSink
from relay import Relay, wait_until
from tap import Tap

WHY_NOT = dovecot.why_unavailable()
TIMEOUT = 60  # of every socket: only so that a failure ends, never to judge speed
STAMP = re.compile(rb"(\d{10})\.\d{6} ")
STAMP_LENGTH = 18
SMALL_MESSAGE = b"Subject: small\r\nFrom: bob@test.invalid\r\n\r\nHello, Alice.\r\n..\r\n.dots\r\n"


def message_of(size, longest_line):
    """A message of about `size` bytes, 8-bit, with lines up to `longest_line`, the same at every call.

    There are no angle brackets in its body: with -b nothing of it can be taken for a marker.
    """
    source = random.Random(longest_line)
    alphabet = bytes(b for b in range(0x20, 0x100) if b not in b"<>\x7f")
    lines = [b"Subject: large", b"From: bob@test.invalid", b"Content-Type: text/plain; charset=iso-8859-1",
             b"Content-Transfer-Encoding: 8bit", b"", b".a line that begins with a dot", b".", b"\t"]
    length = 0
    while length < size:
        # Every third line as long as allowed: it spans several reads of any recorder.
        line_length = longest_line if len(lines) % 3 == 0 else source.randrange(120)
        lines.append(bytes(source.choices(alphabet, k=line_length)))
        length += line_length + 2
    return b"\r\n".join(lines) + b"\r\n"


LARGE_MESSAGE = message_of(300_000, 20_000)
# poplib refuses lines of more than 2048 bytes.
POP3_MESSAGE = message_of(300_000, 2000)


def strip_stamps(recorded):
    """The bytes of a recording with -t; raises when a line has no stamp at its beginning."""
    lines = recorded.split(b"\n")
    now = time.time()
    for number, line in enumerate(lines):
        # After the last newline there is no line, and no stamp.
        if number == len(lines) - 1 and not line:
            break
        stamp = STAMP.match(line)
        if not stamp:
            raise AssertionError(f"line {number + 1} has no stamp: {line[:60]!r}")
        # Not a judgement of speed: it tells the wall clock from any other clock.
        if abs(int(stamp.group(1)) - now) > 86400:
            raise AssertionError(f"line {number + 1} has a stamp far from now: {line[:60]!r}")
        lines[number] = line[STAMP_LENGTH:]
    return b"\n".join(lines)


def strip_boundaries(recorded):
    """The bytes of a recording with -b; raises when anything stands outside of the markers."""
    chunks = []
    position = 0
    while position < len(recorded):
        end = recorded.find(b">>>\n", position)
        if not recorded.startswith(b"<<<\n", position) or end < 0:
            raise AssertionError(f"no boundaries at {position}: {recorded[position:position + 60]!r}")
        chunk = recorded[position + 4:end]
        if not chunk:
            raise AssertionError(f"nothing between the boundaries at {position}")
        chunks.append(chunk)
        position = end + 4
    return b"".join(chunks)


def unchanged(recorded):
    return recorded


def with_equal_stamps(recorded):
    """A recording with -t whose stamps all have the same value; their places stay."""
    return re.sub(rb"^\d{10}\.\d{6} ", b"@ ", recorded, flags=re.MULTILINE)


def read_until(connection, ending):
    """Reads until what came ends with `ending`; with None until the other side ends."""
    received = bytearray()
    while ending is None or not received.endswith(ending):
        data = connection.recv(65536)
        if not data:
            if ending is None:
                break
            raise AssertionError(f"the connection ended before {ending!r}: {bytes(received[-200:])!r}")
        received += data
    return bytes(received)


class ImapClient(imaplib.IMAP4):
    """Reads to the very end at the logout.

    The library closes at the server's BYE. Where the tagged answer comes later than that, the close would be
    a reset, and what the recorder should then say of the session would depend on chance.
    """

    def logout(self):
        answer = self.xatom("LOGOUT")
        while self.readline():
            pass
        self.shutdown()
        return answer


class EndToEndTest(unittest.TestCase):
    """What the tests share: everything started is ended in reverse order, also after a failure."""

    def setUp(self):
        self.stack = contextlib.ExitStack()
        self.addCleanup(self.stack.close)

    def start_dovecot(self, *protocols, **options):
        return self.stack.enter_context(Dovecot(protocols or dovecot.PROTOCOLS, **options))

    def start_recorder(self, server, *options):
        """A recorder in front of a tap in front of `server`."""
        tap = self.stack.enter_context(Tap(server))
        relay = self.stack.enter_context(Relay(tap.name, *options))
        return relay, tap

    def connect(self, address):
        return self.stack.enter_context(socket.create_connection(address, timeout=TIMEOUT))

    def imap(self, address):
        """A logged-in client."""
        client = ImapClient(*address, timeout=TIMEOUT)
        self.stack.callback(self.drop, client)
        self.assertEqual(client.login(Dovecot.user, Dovecot.password)[0], "OK")
        return client

    @staticmethod
    def drop(client):
        """Closes an IMAP client's connection, which may be closed already."""
        with contextlib.suppress(OSError):
            client.shutdown()

    def assert_same(self, actual, expected, what):
        """As assertEqual, but shows the first difference only: these may be long."""
        actual, expected = bytes(actual), bytes(expected)
        if actual == expected:
            return
        at = next((i for i, (a, b) in enumerate(zip(actual, expected)) if a != b), min(len(actual), len(expected)))
        self.fail(f"{what}: {len(actual)} bytes, expected {len(expected)}, different from byte {at}: "
                  f"{actual[at:at + 60]!r}, expected {expected[at:at + 60]!r}")

    def assert_recording(self, relay, record, connection, decode=unchanged):
        """The two files of a session, and the sizes in its end record, against what the tap saw."""
        for direction, seen in (("in", connection.from_client), ("out", connection.from_server)):
            recorded = relay.recording(record, direction)
            self.assert_same(decode(recorded), seen, f"the recording .{direction}")
            self.assertEqual(record[f"{direction}_bytes"], len(seen))
            self.assertEqual(record[f"{direction}_recorded"], len(seen))
            self.assertEqual(record[f"{direction}_file"], len(recorded))
            path = os.path.join(relay.directory, f"{record['id']}.{direction}")
            self.assertEqual(stat.S_IMODE(os.stat(path).st_mode), 0o600)
        self.assertEqual(record["recording"], "complete")
        self.assertEqual(record["dropped"], 0)
        self.assertEqual(record["gaps"], [])

    def assert_recordings(self, relay, records, tap):
        """Several sessions, recorded without flags, whose clients sent different bytes."""
        # A record does not say which connection of the tap was its own; what the client sent tells them apart.
        connections = {bytes(c.from_client): c for c in tap.connections}
        self.assertEqual(len(connections), len(records))
        for record in records:
            connection = connections.pop(relay.recording(record, "in"), None)
            self.assertIsNotNone(connection, "a recording that equals no connection of the tap")
            self.assert_recording(relay, record, connection)

    def assert_one_session(self, relay, tap, decode=unchanged, reasons=("client-eof", "server-eof")):
        """One session went through, was recorded, and the recorder then ends as told. Returns its end record."""
        tap.wait_finished(1)
        relay.wait_ends(1)
        self.assertEqual(relay.terminate(), 0, relay.stderr)
        (start,), (end,) = relay.records("start"), relay.records("end")
        self.assertEqual(len(tap.connections), 1)
        for field in ("id", "client", "server", "protocol", "listener"):
            self.assertEqual(start[field], end[field])
        self.assertRegex(end["client"], r"^127\.0\.0\.1:\d+$")
        self.assertEqual(end["server"], tap.name)
        self.assertEqual(end["protocol"], "raw")
        self.assertEqual(end["login"], "none")
        self.assertIsNone(end["tls"])
        self.assertIsNone(end["via"])
        self.assertIn(end["reason"], reasons)
        self.assert_recording(relay, end, tap.connections[0], decode)
        return end

    # One ordinary session for each protocol, through whatever `address` is.

    def append_and_fetch(self, address, *messages):
        client = self.imap(address)
        for message in messages:
            self.assertEqual(client.append("INBOX", None, None, message)[0], "OK")
        self.assertEqual(client.select("INBOX"), ("OK", [b"%d" % len(messages)]))
        for number, message in enumerate(messages, 1):
            status, data = client.fetch(str(number), "(BODY[])")
            self.assertEqual(status, "OK")
            self.assert_same(data[0][1], message, "the message fetched")
        self.assertEqual(client.logout()[0], "BYE")

    def retrieve(self, address, message):
        client = poplib.POP3(*address, timeout=TIMEOUT)
        self.stack.callback(client.close)
        client.user(Dovecot.user)
        client.pass_(Dovecot.password)
        self.assertEqual(client.stat()[0], 1)
        _, lines, _ = client.retr(1)
        self.assert_same(b"\r\n".join(lines) + b"\r\n", message, "the message retrieved")
        client.quit()

    def deliver(self, address, message):
        client = smtplib.LMTP(*address)
        self.stack.callback(client.close)
        client.sock.settimeout(TIMEOUT)
        self.assertEqual(client.sendmail("bob@test.invalid", ["alice@test.invalid"], message), {})
        self.assertEqual(client.quit()[0], 221)

    def submit(self, address, message):
        client = smtplib.SMTP(*address, timeout=TIMEOUT)
        self.stack.callback(client.close)
        client.ehlo()
        client.login(Dovecot.user, Dovecot.password)
        self.assertEqual(client.sendmail("alice@test.invalid", ["bob@test.invalid"], message), {})
        self.assertEqual(client.quit()[0], 221)

    def only_message(self, server):
        """The one message that is in the inbox, asked for without the recorder."""
        client = self.imap(server.address("imap"))
        self.assertEqual(client.select("INBOX"), ("OK", [b"1"]))
        content = client.fetch("1", "(BODY[])")[1][0][1]
        client.logout()
        return content


@unittest.skipIf(WHY_NOT, WHY_NOT)
class ProtocolTest(EndToEndTest):
    """A session of each protocol, recorded without flags."""

    def test_imap_with_a_small_and_a_large_message(self):
        server = self.start_dovecot("imap")
        relay, tap = self.start_recorder(server.address("imap"))
        self.append_and_fetch(relay.address, SMALL_MESSAGE, LARGE_MESSAGE)
        end = self.assert_one_session(relay, tap)
        self.assertGreater(end["in_bytes"], len(LARGE_MESSAGE))
        self.assertGreater(end["out_bytes"], len(LARGE_MESSAGE))
        self.assertRegex(end["id"], rf"^\d{{8}}-\d{{6}}\.{relay.pid}\.\d+$")
        # Raw knows nothing of passwords, so it is there: a reader of the recording must be able to rely on it.
        self.assertIn(Dovecot.password.encode(), relay.recording(end, "in"))

    def test_pop3_with_a_large_message(self):
        server = self.start_dovecot("imap", "pop3")
        self.append_and_fetch(server.address("imap"), POP3_MESSAGE)
        relay, tap = self.start_recorder(server.address("pop3"))
        self.retrieve(relay.address, POP3_MESSAGE)
        self.assert_one_session(relay, tap)

    def test_lmtp_delivery_is_there_over_imap(self):
        server = self.start_dovecot("imap", "lmtp")
        relay, tap = self.start_recorder(server.address("lmtp"))
        self.deliver(relay.address, LARGE_MESSAGE)
        self.assert_one_session(relay, tap)
        # Dovecot puts its own header fields in front.
        delivered = self.only_message(server)
        self.assertTrue(delivered.startswith(b"Return-Path:"), delivered[:60])
        self.assert_same(delivered[-len(LARGE_MESSAGE):], LARGE_MESSAGE, "the message delivered")

    def test_submission_arrives_at_the_sink(self):
        sink = self.stack.enter_context(SmtpSink())
        server = self.start_dovecot("submission", relay_port=sink.port)
        relay, tap = self.start_recorder(server.address("submission"))
        self.submit(relay.address, LARGE_MESSAGE)
        self.assert_one_session(relay, tap)
        (message,) = sink.messages
        self.assertEqual((message.sender, message.recipients), ("alice@test.invalid", ["bob@test.invalid"]))
        self.assert_same(message.content[-len(LARGE_MESSAGE):], LARGE_MESSAGE, "the message submitted")


@unittest.skipIf(WHY_NOT, WHY_NOT)
class FlagTest(EndToEndTest):
    """A session of each protocol, recorded with stamps, boundaries, or both."""

    def check_every_protocol(self, options, decode):
        sink = self.stack.enter_context(SmtpSink())
        server = self.start_dovecot(relay_port=sink.port)
        sessions = {
            "lmtp": lambda address: self.deliver(address, POP3_MESSAGE),
            "pop3": lambda address: self.retrieve_delivered(address, POP3_MESSAGE),
            "imap": lambda address: self.fetch_delivered(address, POP3_MESSAGE),
            "submission": lambda address: self.submit(address, POP3_MESSAGE),
        }
        for protocol, session in sessions.items():
            with self.subTest(protocol=protocol):
                relay, tap = self.start_recorder(server.address(protocol), *options)
                session(relay.address)
                end = self.assert_one_session(relay, tap, decode)
                self.assertGreater(end["in_file"], end["in_bytes"])
                self.assertGreater(end["out_file"], end["out_bytes"])

    def retrieve_delivered(self, address, message):
        client = poplib.POP3(*address, timeout=TIMEOUT)
        self.stack.callback(client.close)
        client.user(Dovecot.user)
        client.pass_(Dovecot.password)
        content = b"\r\n".join(client.retr(1)[1]) + b"\r\n"
        self.assert_same(content[-len(message):], message, "the message retrieved")
        client.quit()

    def fetch_delivered(self, address, message):
        client = self.imap(address)
        client.select("INBOX")
        content = client.fetch("1", "(BODY[])")[1][0][1]
        self.assert_same(content[-len(message):], message, "the message fetched")
        client.append("INBOX", None, None, message)
        client.logout()

    def test_stamps_at_each_line_start_and_nowhere_else(self):
        self.check_every_protocol(("-t",), strip_stamps)

    def test_boundaries_around_the_bytes(self):
        self.check_every_protocol(("-b",), strip_boundaries)

    def test_stamps_inside_of_boundaries(self):
        # Without the markers it is a recording with stamps: a marker neither gets one nor begins a line.
        self.check_every_protocol(("-b", "-t"), lambda recorded: strip_stamps(strip_boundaries(recorded)))


@unittest.skipIf(WHY_NOT, WHY_NOT)
class FileTest(EndToEndTest):
    def test_names_with_the_client_address_and_modes(self):
        server = self.start_dovecot("imap")
        relay, tap = self.start_recorder(server.address("imap"), "-I")
        self.append_and_fetch(relay.address, SMALL_MESSAGE)
        end = self.assert_one_session(relay, tap)
        self.assertRegex(end["id"], rf"^127\.0\.0\.1-\d{{8}}-\d{{6}}\.{relay.pid}\.\d+$")
        self.assertEqual(sorted(os.listdir(relay.directory)),
                         sorted([f"{end['id']}.in", f"{end['id']}.out", "sessions.jsonl"]))
        for name in os.listdir(relay.directory):
            mode = stat.S_IMODE(os.stat(os.path.join(relay.directory, name)).st_mode)
            self.assertEqual(mode, 0o600, name)


@unittest.skipIf(WHY_NOT, WHY_NOT)
class ManyClientsTest(EndToEndTest):
    def test_twenty_imap_clients_at_once(self):
        count = 20
        server = self.start_dovecot("imap")
        relay, tap = self.start_recorder(server.address("imap"))
        # Nobody goes on before everybody is logged in, so that all sessions are open together.
        everybody = threading.Barrier(count, timeout=TIMEOUT)

        def client_session(number):
            message = b"Subject: client %d\r\n\r\n" % number + b"%d says: caf\xe9\r\n" % number * 2000
            mailbox = f"box-{number}"
            client = ImapClient(*relay.address, timeout=TIMEOUT)
            try:
                client.login(Dovecot.user, Dovecot.password)
                everybody.wait()
                client.create(mailbox)
                client.append(mailbox, None, None, message)
                client.select(mailbox)
                content = client.fetch("1", "(BODY[])")[1][0][1]
                client.logout()
            except BaseException:
                everybody.abort()
                self.drop(client)
                raise
            return content == message

        with concurrent.futures.ThreadPoolExecutor(count) as executor:
            self.assertEqual(list(executor.map(client_session, range(count))), [True] * count)
        tap.wait_finished(count)
        relay.wait_ends(count)
        self.assertEqual(relay.terminate(), 0, relay.stderr)
        starts, ends = relay.records("start"), relay.records("end")
        self.assertEqual((len(starts), len(ends)), (count, count))
        self.assertEqual(len({r["id"] for r in ends}), count)
        self.assertEqual({r["id"] for r in starts}, {r["id"] for r in ends})
        self.assertLessEqual({r["reason"] for r in ends}, {"client-eof", "server-eof"})
        self.assert_recordings(relay, ends, tap)


@unittest.skipIf(WHY_NOT, WHY_NOT)
class PipelineTest(EndToEndTest):
    """Commands sent without waiting for answers."""

    def test_imap(self):
        server = self.start_dovecot("imap")
        self.append_and_fetch(server.address("imap"), LARGE_MESSAGE)
        relay, tap = self.start_recorder(server.address("imap"))
        sent = (f"a LOGIN {Dovecot.user} {Dovecot.password}\r\nb SELECT INBOX\r\n".encode()
                + b"c FETCH 1 BODY.PEEK[]\r\n" * 3 + b"d NOOP\r\n" * 500 + b"e LOGOUT\r\n")
        client = self.connect(relay.address)
        client.sendall(sent)
        received = read_until(client, None)
        client.close()
        self.assertEqual(received.count(LARGE_MESSAGE), 3)
        self.assertEqual(received.count(b"\r\nd OK"), 500)
        end = self.assert_one_session(relay, tap)
        self.assert_same(relay.recording(end, "in"), sent, "what the client sent")
        self.assert_same(relay.recording(end, "out"), received, "what the client received")

    def test_pop3(self):
        server = self.start_dovecot("imap", "pop3")
        self.append_and_fetch(server.address("imap"), LARGE_MESSAGE)
        relay, tap = self.start_recorder(server.address("pop3"))
        sent = (f"USER {Dovecot.user}\r\nPASS {Dovecot.password}\r\nSTAT\r\n".encode() + b"RETR 1\r\n" * 3
                + b"NOOP\r\n" * 100 + b"QUIT\r\n")
        client = self.connect(relay.address)
        client.sendall(sent)
        received = read_until(client, None)
        client.close()
        self.assertEqual(received.count(LARGE_MESSAGE.replace(b"\r\n.", b"\r\n..")), 3)
        end = self.assert_one_session(relay, tap)
        self.assert_same(relay.recording(end, "in"), sent, "what the client sent")
        self.assert_same(relay.recording(end, "out"), received, "what the client received")

    def test_lmtp(self):
        server = self.start_dovecot("imap", "lmtp")
        relay, tap = self.start_recorder(server.address("lmtp"))
        sent = [b"LHLO client.test.invalid\r\nMAIL FROM:<bob@test.invalid>\r\nRCPT TO:<alice>\r\nDATA\r\n",
                SMALL_MESSAGE.replace(b"\r\n.", b"\r\n..") + b".\r\nNOOP\r\nNOOP\r\nQUIT\r\n"]
        client = self.connect(relay.address)
        client.sendall(sent[0])
        # The answer to DATA is the one that has to be waited for.
        received = read_until(client, b"OK\r\n354 OK\r\n")
        client.sendall(sent[1])
        received += read_until(client, None)
        client.close()
        end = self.assert_one_session(relay, tap)
        self.assert_same(relay.recording(end, "in"), b"".join(sent), "what the client sent")
        self.assert_same(relay.recording(end, "out"), received, "what the client received")
        self.assertTrue(self.only_message(server).endswith(SMALL_MESSAGE))

    def test_submission(self):
        sink = self.stack.enter_context(SmtpSink())
        server = self.start_dovecot("submission", relay_port=sink.port)
        relay, tap = self.start_recorder(server.address("submission"))
        credentials = base64.b64encode(f"\0{Dovecot.user}\0{Dovecot.password}".encode())
        sent = [b"EHLO client.test.invalid\r\n", b"AUTH PLAIN " + credentials + b"\r\n",
                b"MAIL FROM:<alice@test.invalid>\r\nRCPT TO:<bob@test.invalid>\r\nRCPT TO:<carol@test.invalid>\r\n"
                b"DATA\r\n",
                SMALL_MESSAGE.replace(b"\r\n.", b"\r\n..") + b".\r\nNOOP\r\nQUIT\r\n"]
        client = self.connect(relay.address)
        received = read_until(client, b"\r\n")
        for part, ending in zip(sent, (b"\r\n", b"Logged in.\r\n", b"\r\n354 OK\r\n", None)):
            client.sendall(part)
            received += read_until(client, ending)
        client.close()
        end = self.assert_one_session(relay, tap)
        self.assert_same(relay.recording(end, "in"), b"".join(sent), "what the client sent")
        self.assert_same(relay.recording(end, "out"), received, "what the client received")
        (message,) = sink.messages
        self.assertEqual(message.recipients, ["bob@test.invalid", "carol@test.invalid"])
        self.assertTrue(message.content.endswith(SMALL_MESSAGE))


@unittest.skipIf(WHY_NOT, WHY_NOT)
class BrokenSessionTest(EndToEndTest):
    """Clients that go away, and servers that do."""

    def test_client_leaves_without_logout(self):
        server = self.start_dovecot("imap")
        relay, tap = self.start_recorder(server.address("imap"))
        client = self.imap(relay.address)
        client.select("INBOX")
        client.shutdown()
        end = self.assert_one_session(relay, tap, reasons=("client-eof",))
        self.assertTrue(relay.recording(end, "in").endswith(b"SELECT INBOX\r\n"))

    def test_client_leaves_in_the_middle_of_a_message(self):
        server = self.start_dovecot("imap")
        relay, tap = self.start_recorder(server.address("imap"))
        client = self.connect(relay.address)
        greeting = read_until(client, b"\r\n")
        part = LARGE_MESSAGE[:100_001]
        sent = [f"a LOGIN {Dovecot.user} {Dovecot.password}\r\n".encode(),
                b"b APPEND INBOX {%d}\r\n" % len(LARGE_MESSAGE), part]
        client.sendall(sent[0])
        self.assertIn(b"ready", greeting)
        read_until(client, b"Logged in\r\n")
        client.sendall(sent[1])
        read_until(client, b"+ OK\r\n")
        client.sendall(part)
        client.close()
        end = self.assert_one_session(relay, tap, reasons=("client-eof",))
        self.assert_same(relay.recording(end, "in"), b"".join(sent), "what the client sent")

    def test_client_resets_while_it_is_sent_a_message(self):
        server = self.start_dovecot("imap")
        self.append_and_fetch(server.address("imap"), LARGE_MESSAGE)
        relay, tap = self.start_recorder(server.address("imap"))
        client = self.connect(relay.address)
        client.sendall(f"a LOGIN {Dovecot.user} {Dovecot.password}\r\nb SELECT INBOX\r\n".encode()
                       + b"c FETCH 1 BODY.PEEK[]\r\n" * 30)
        # Some of it, so that the rest is under way; then an end without reading on.
        self.assertGreater(len(client.recv(1000)), 0)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        client.close()
        tap.wait_finished(1)
        (end,) = relay.wait_ends(1)
        self.assertEqual(end["reason"], "client-reset")
        self.assertEqual(end["client_close"], "reset")
        # What was under way when the connection broke may be on one side only, but nothing may differ.
        (connection,) = tap.connections
        for direction, seen in (("in", connection.from_client), ("out", connection.from_server)):
            recorded = relay.recording(end, direction)
            both = min(len(recorded), len(seen))
            self.assert_same(recorded[:both], seen[:both], f"the common part of .{direction}")
            self.assertEqual(end[f"{direction}_file"], len(recorded))
        # The recorder is none the worse for it.
        self.assertEqual(self.imap(relay.address).logout()[0], "BYE")
        relay.wait_ends(2)
        self.assertEqual(relay.terminate(), 0, relay.stderr)

    def test_dovecot_stops_while_sessions_are_open(self):
        count = 4
        server = self.start_dovecot("imap")
        relay, tap = self.start_recorder(server.address("imap"))
        clients = []
        for number in range(count):
            client = self.connect(relay.address)
            client.sendall(f"tag{number} LOGIN {Dovecot.user} {Dovecot.password}\r\n".encode())
            received = read_until(client, b"Logged in\r\n")
            clients.append((client, received))
        server.stop()
        for client, received in clients:
            # Dovecot says good-bye and closes; both have to come through.
            received += read_until(client, None)
            self.assertIn(b"* BYE", received)
            client.close()
        tap.wait_finished(count)
        ends = relay.wait_ends(count)
        self.assertEqual(relay.terminate(), 0, relay.stderr)
        self.assertEqual(len(relay.records("end")), count)
        self.assertEqual([r["reason"] for r in ends], ["server-eof"] * count)
        self.assert_recordings(relay, ends, tap)

    def test_dovecot_not_running_and_then_running_again(self):
        server = self.start_dovecot("imap")
        server.stop()
        # Without the tap, which would accept in Dovecot's place.
        relay = self.stack.enter_context(Relay("%s:%d" % server.address("imap")))
        client = self.connect(relay.address)
        try:
            self.assertEqual(client.recv(1), b"")
        except ConnectionResetError:
            pass
        client.close()
        (end,) = relay.wait_ends(1)
        self.assertEqual(end["reason"], "connect-failed")
        self.assertEqual((end["in_bytes"], end["out_bytes"]), (0, 0))
        server.start()
        self.assertEqual(self.imap(relay.address).logout()[0], "BYE")
        ends = relay.wait_ends(2)
        self.assertIn(ends[1]["reason"], ("client-eof", "server-eof"))
        self.assertEqual(relay.terminate(), 0, relay.stderr)
        self.assertEqual(len(relay.records("start")), 2)
        self.assertEqual(len(relay.records("end")), 2)


@unittest.skipIf(WHY_NOT, WHY_NOT)
class DovecotRawlogTest(EndToEndTest):
    """Dovecot's own recording of the same session; it begins after the login."""

    def test_rawlog_dir_has_the_same_bytes(self):
        server = self.start_dovecot("imap", rawlog=True)
        relay, tap = self.start_recorder(server.address("imap"), "-t")
        self.append_and_fetch(relay.address, SMALL_MESSAGE, LARGE_MESSAGE)
        end = self.assert_one_session(relay, tap, strip_stamps)

        def dovecot_recording(direction):
            names = [n for n in os.listdir(server.rawlog_directory) if n.endswith("." + direction)]
            self.assertEqual(len(names), 1, names)
            with open(os.path.join(server.rawlog_directory, names[0]), "rb") as file:
                return file.read()

        # The IMAP process may still be writing its last line.
        wait_until(lambda: b"LOGOUT" in dovecot_recording("in") and b"OK Logout" in dovecot_recording("out"),
                   what="Dovecot to finish its recording")
        for direction in ("in", "out"):
            ours, theirs = relay.recording(end, direction), dovecot_recording(direction)
            self.assert_same(strip_stamps(ours)[-len(strip_stamps(theirs)):], strip_stamps(theirs),
                             f"the bytes of .{direction} after the login")
            # Also the places of the stamps are the same; their values are each recorder's own clock.
            ours, theirs = with_equal_stamps(ours), with_equal_stamps(theirs)
            self.assert_same(ours[-len(theirs):], theirs, f"the recording .{direction} after the login")
            before = ours[:-len(theirs)]
            if direction == "in":
                self.assertRegex(before, rb'(?s)^@ \S+ CAPABILITY\r\n@ \S+ LOGIN alice "?wonder-land"?\r\n$')
            else:
                # The greeting and the answer to CAPABILITY; the answer to LOGIN is Dovecot's first entry.
                self.assertRegex(before, rb"^@ \* OK [^\n]*\n@ \* CAPABILITY [^\n]*\n@ \S+ OK [^\n]*\n$")
                self.assertRegex(theirs[:2000], rb"^(@ \* CAPABILITY [^\n]*\n)?@ \S+ OK [^\n]*Logged in\r\n")


class TapTest(EndToEndTest):
    """The judge is judged: its bytes, its half-closes, its resets."""

    def start_pair(self):
        """A client's socket and a server's, with a tap between."""
        listener = self.stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        tap = self.stack.enter_context(Tap(listener.getsockname()))
        client = self.connect(tap.address)
        server, _ = listener.accept()
        self.stack.enter_context(server)
        server.settimeout(TIMEOUT)
        return tap, client, server

    def test_answers_after_the_clients_end(self):
        tap, client, server = self.start_pair()
        client.sendall(b"question")
        client.shutdown(socket.SHUT_WR)
        self.assertEqual(read_until(server, None), b"question")
        server.sendall(LARGE_MESSAGE)
        server.close()
        self.assert_same(read_until(client, None), LARGE_MESSAGE, "the answer")
        (connection,) = tap.wait_finished(1)
        self.assertEqual(bytes(connection.from_client), b"question")
        self.assert_same(connection.from_server, LARGE_MESSAGE, "what the tap saw")

    def test_a_reset_stays_a_reset(self):
        tap, client, server = self.start_pair()
        client.sendall(b"question")
        self.assertEqual(server.recv(100), b"question")
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        client.close()
        with self.assertRaises(ConnectionResetError):
            server.recv(1)
        tap.wait_finished(1)


if __name__ == "__main__":
    unittest.main()
