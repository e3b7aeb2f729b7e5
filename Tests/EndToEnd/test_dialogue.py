"""Mail dialogues through the relay: forms of logins that no client here uses, recordings that end at the login, a directory
for each user, and what nobody should send."""

import base64
import os
import socket
import tempfile
import threading
import unittest
import zlib

import dovecot
import redaction
from dovecot import Dovecot, SmtpSink
from peers import MIB, EndToEnd, ScriptedServer, connect, payload, receive_all, receive_exactly, receive_until_end
from redaction import LAYOUTS, MARK, Recorders, decode, leaks, restored
from relay import run, wait_until

WHY_NOT = dovecot.why_unavailable()
ALICE = ("alice", "wonder-land")
CAROL = ("carol", 'pass "wo\\rd\\" {5} * = ~x')
PLAIN = base64.b64encode(b"\0alice\0wonder-land")
NAME64, PASSWORD64 = base64.b64encode(b"alice"), base64.b64encode(b"wonder-land")


class Talk:
    """A client that says one thing after the other, and waits for a word of the server where it is told to."""

    def __init__(self, address, pace=None):
        self.socket = connect(address)
        self._seen = b""
        self._pace = pace

    def say(self, said, until=None):
        for place in range(0, len(said), self._pace or len(said) or 1):
            self.socket.sendall(said[place:place + (self._pace or len(said))])
        if until is not None:
            self.hear(until)

    def hear(self, until):
        """Reads to behind a word, and what of its line is there."""
        while until not in self._seen:
            data = self.socket.recv(65536)
            if not data:
                raise AssertionError(f"the server ended before {until!r}; it said {self._seen[-300:]!r}")
            self._seen += data
        self._seen = self._seen[self._seen.index(until) + len(until):]

    def end(self):
        self.socket.shutdown(socket.SHUT_WR)
        receive_until_end(self.socket)
        self.socket.close()


@unittest.skipIf(WHY_NOT, WHY_NOT)
class Forms(unittest.TestCase):
    """At a real Dovecot, which says itself whether a form logs in."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.sink = cls.enterClassContext(SmtpSink())
        cls.server = Dovecot(("imap", "pop3", "submission"), users=dict([CAROL]), relay_port=cls.sink.port)
        cls.addClassCleanup(cls.server.close)
        cls.server.start()

    def converse(self, service, steps, hidden, user="alice", login="ok", failed=0, pace=None):
        """`steps` are what is said, and the word that is waited for then; `hidden` are the credentials in it."""
        with Recorders(self.server.address(service), "smtp" if service == "submission" else service) as recorders:
            talk = Talk(recorders.address, pace)
            for said, until in steps:
                talk.say(said, until)
            talk.end()
            (end,), (found,) = recorders.check(self, [ALICE[1], CAROL[1]])
        self.assertEqual(found, hidden)
        self.assertEqual((end["user"], end["login"], end["failed_logins"]), (user, login, failed), end)

    def test_imap(self):
        greeting, out = (b"", b"* OK"), (b"z LOGOUT\r\n", b"z OK")
        odd = CAROL[1].replace("\\", "\\\\").replace('"', '\\"').encode()
        carol = CAROL[1].encode()
        size = b"%d" % len(carol)
        forms = {
            "atoms": ([(b"a LOGIN alice wonder-land\r\n", b"a OK")], [b"wonder-land"]),
            "small letters, quoted": ([(b'a login "alice" "wonder-land"\r\n', b"a OK")], [b"wonder-land"]),
            "escapes": ([(b'a LOGIN "carol" "%s"\r\n' % odd, b"a OK")], [odd]),
            "literals": ([(b"a LOGIN {5}\r\n", b"+ "), (b"alice {11}\r\n", b"+ "), (b"wonder-land\r\n", b"a OK")],
                         [b"wonder-land"]),
            "literals, not waited for": ([(b"a LOGIN {5+}\r\nalice {11+}\r\nwonder-land\r\n", b"a OK")], [b"wonder-land"]),
            "mixed": ([(b'a LOGIN "carol" {%s}\r\n' % size, b"+ "), (carol + b"\r\n", b"a OK")], [carol]),
            "mixed the other way": ([(b'a LOGIN {5+}\r\ncarol "%s"\r\n' % odd, b"a OK")], [odd]),
            "initial response": ([(b"a AUTHENTICATE PLAIN %s\r\n" % PLAIN, b"a OK")], [PLAIN]),
            "challenge": ([(b"a AUTHENTICATE PLAIN\r\n", b"+ "), (PLAIN + b"\r\n", b"a OK")], [PLAIN]),
            "not waited for": ([(b"a AUTHENTICATE PLAIN\r\n%s\r\n" % PLAIN, b"a OK")], [PLAIN]),
            "login": ([(b"a AUTHENTICATE LOGIN\r\n", b"+ "), (NAME64 + b"\r\n", b"+ "), (PASSWORD64 + b"\r\n", b"a OK")],
                      [PASSWORD64]),
            "pipelined": ([(b"a LOGIN alice wonder-land\r\nb SELECT INBOX\r\nc NOOP\r\n", b"c OK")], [b"wonder-land"]),
        }
        for name, (steps, hidden) in forms.items():
            for pace in (None, 1):
                with self.subTest(name, pace=pace):
                    user = "carol" if b"carol" in steps[0][0] + (steps + [(b"", b"")])[1][0] else "alice"
                    self.converse("imap", [greeting, *steps, out], hidden, user=user, pace=pace)

    def test_imap_that_fails(self):
        greeting, right, out = (b"", b"* OK"), (b"y LOGIN alice wonder-land\r\n", b"y OK"), (b"z LOGOUT\r\n", b"z OK")
        forms = {
            "wrong": ([(b"a LOGIN alice wrong-land\r\n", b"a NO")], [b"wrong-land"], 1),
            "cancelled": ([(b"a AUTHENTICATE PLAIN\r\n", b"+ "), (b"*\r\n", b"a ")], [], 1),
            "unknown mechanism": ([(b"a AUTHENTICATE X-NOBODY c2VjcmV0LW9uZQ==\r\n", b"a NO")], [b"c2VjcmV0LW9uZQ=="], 1),
            "two lines": ([(b"a LOGIN {5}\r\n", b"+ "), (b"alice {12}\r\n", b"+ "), (b"wonder\r\nland\r\n", b"a NO")],
                          [b"wonder\r\nland"], 1),
            "no base64": ([(b"a AUTHENTICATE PLAIN wonder-land\r\n", b"a ")], [b"wonder-land"], 1),
        }
        for name, (steps, hidden, failed) in forms.items():
            with self.subTest(name):
                self.converse("imap", [greeting, *steps, right, out], hidden + [b"wonder-land"], failed=failed)

    def test_pop3(self):
        greeting, out = (b"", b"+OK"), (b"STAT\r\nLIST\r\nQUIT\r\n", b"+OK Logging out")
        forms = {
            "user and pass": [(b"USER alice\r\n", b"+OK"), (b"PASS wonder-land\r\n", b"+OK Logged")],
            "small letters": [(b"user alice\r\npass wonder-land\r\n", b"+OK Logged")],
            "initial response": [(b"AUTH PLAIN %s\r\n" % PLAIN, b"+OK Logged")],
            "challenge": [(b"AUTH PLAIN\r\n", b"+ "), (PLAIN + b"\r\n", b"+OK Logged")],
            "login": [(b"AUTH LOGIN\r\n", b"+ "), (NAME64 + b"\r\n", b"+ "), (PASSWORD64 + b"\r\n", b"+OK Logged")],
        }
        for name, steps in forms.items():
            hidden = [secret for secret in (PLAIN, PASSWORD64, b"wonder-land") if any(secret in s for s, _ in steps)]
            for pace in (None, 1):
                with self.subTest(name, pace=pace):
                    self.converse("pop3", [greeting, *steps, out], hidden, pace=pace)

    def test_submission(self):
        greeting, out = (b"", b"220 "), (b"QUIT\r\n", b"221 ")
        hello = (b"EHLO client.test.invalid\r\n", b"250 ")
        forms = {
            "initial response": [(b"AUTH PLAIN %s\r\n" % PLAIN, b"235 ")],
            "challenge": [(b"auth plain\r\n", b"334"), (PLAIN + b"\r\n", b"235 ")],
            "login": [(b"AUTH LOGIN\r\n", b"334"), (NAME64 + b"\r\n", b"334"), (PASSWORD64 + b"\r\n", b"235 ")],
            "login with the name": [(b"AUTH LOGIN %s\r\n" % NAME64, b"334"), (PASSWORD64 + b"\r\n", b"235 ")],
        }
        for name, steps in forms.items():
            hidden = [secret for secret in (PLAIN, PASSWORD64) if any(secret in said for said, _ in steps)]
            for pace in (None, 1):
                with self.subTest(name, pace=pace):
                    self.converse("submission", [greeting, hello, *steps, out], hidden, pace=pace)


def server_of(greeting, *exchanges, then=b""):
    """A server that knows what it hears: bytes, and what it answers when it has them. Then it sends, and echoes."""
    def script(connection):
        connection.sendall(greeting)
        for heard, answer in exchanges:
            if receive_exactly(connection, len(heard)) != heard:
                raise AssertionError(f"not {heard!r}")
            connection.sendall(answer)
        connection.sendall(then)
        while data := connection.recv(65536):
            connection.sendall(data)

    return ScriptedServer(script)


class PreLogin(EndToEnd):
    """Recording ends with the answer to the login; what follows is relayed as it is."""

    compressed = zlib.compress(b"a LOGIN alice not-really\r\n" * 50)
    # protocol, greeting, exchanges of which the last is the login, credentials, and who.
    dialogues = {
        "imap": ("imap", b"* OK ready\r\n",
                 [(b"a LOGIN alice wrong-land\r\n", b"a NO\r\n"), (b"b LOGIN alice wonder-land\r\n", b"* X\r\nb OK in\r\n")],
                 [b"wrong-land", b"wonder-land"], 1),
        "preauth": ("imap", b"* PREAUTH welcome\r\n", [], [], 0),
        "pass": ("pop3", b"+OK\r\n", [(b"USER alice\r\n", b"+OK\r\n"), (b"PASS wonder-land\r\n", b"+OK in\r\n")],
                 [b"wonder-land"], 0),
        "apop": ("pop3", b"+OK <1@x>\r\n", [(b"APOP alice 0123456789abcdef0123456789abcdef\r\n", b"+OK in\r\n")],
                 [b"0123456789abcdef0123456789abcdef"], 0),
        "auth": ("pop3", b"+OK\r\n", [(b"AUTH PLAIN\r\n", b"+ \r\n"), (PLAIN + b"\r\n", b"+OK in\r\n")], [PLAIN], 0),
        "smtp": ("smtp", b"220 x\r\n", [(b"EHLO x\r\n", b"250-x\r\n250 AUTH PLAIN\r\n"),
                                        (b"AUTH PLAIN %s\r\n" % PLAIN, b"235 in\r\n")], [PLAIN], 0),
        "sieve": ("sieve", b'"SASL" "PLAIN"\r\nOK\r\n', [(b'AUTHENTICATE "PLAIN" "%s"\r\n' % PLAIN, b'OK "in"\r\n')],
                  [PLAIN], 0),
    }

    def session(self, relay, greeting, exchanges, behind):
        with connect(relay.address) as client:
            self.assertEqual(receive_exactly(client, len(greeting)), greeting)
            for said, answer in exchanges:
                client.sendall(said)
                self.assertEqual(receive_exactly(client, len(answer)), answer)
            client.sendall(behind)
            self.assertEqual(receive_exactly(client, len(behind)), behind)
            client.shutdown(socket.SHUT_WR)
            self.assertEqual(receive_all(client), b"")

    def test_each_protocol_in_each_layout(self):
        # Eight bits, compressed, what looks like a login, and enough to be spliced.
        behind = self.compressed + bytes(range(256)) + b"\r\nc LOGIN bob later-secret\r\n" + payload(7, 3 * MIB)
        for name, (protocol, greeting, exchanges, secrets, failed) in self.dialogues.items():
            for layout, flags in LAYOUTS.items():
                with self.subTest(name, layout=layout):
                    server = self.serve(server_of(greeting, *exchanges))
                    relay = self.start(server, "--protocol", protocol, "--pre-login", *flags)
                    self.session(relay, greeting, exchanges, behind)
                    end = relay.wait_ends(1)[0]
                    found = decode(relay.directory, end["id"], layout)
                    self.assertEqual(found["out"], greeting + b"".join(answer for _, answer in exchanges))
                    self.assertEqual(restored(found["in"], b"".join(said for said, _ in exchanges)), secrets)
                    self.assertEqual(leaks(relay.directory, secrets + [b"later-secret"]), [])
                    self.assertEqual((end["recording"], end["login"], end["failed_logins"], end["redacted"]),
                                     ("pre-login", "ok", failed, len(secrets)))
                    self.assertEqual(end["in_bytes"], len(b"".join(said for said, _ in exchanges) + behind))
                    self.assertEqual(end["in_recorded"], end["in_bytes"] - len(behind))
                    self.assertEqual(end["user"], None if name == "preauth" else "alice")
                    relay.terminate()

    def test_commands_behind_the_login_that_did_not_wait(self):
        said = b"a LOGIN alice wonder-land\r\nb COMPRESS DEFLATE\r\nc NOOP\r\n"
        server = self.serve(server_of(b"* OK\r\n", (said, b"a OK in\r\nb OK begin\r\n"), then=self.compressed))
        relay = self.start(server, "--protocol", "imap", "--pre-login")
        with connect(relay.address) as client:
            client.sendall(said)
            answers = b"* OK\r\na OK in\r\nb OK begin\r\n" + self.compressed
            self.assertEqual(receive_exactly(client, len(answers)), answers)
            client.shutdown(socket.SHUT_WR)
            receive_until_end(client)
        end = relay.wait_ends(1)[0]
        self.assertEqual(relay.recording(end, "in"), said.replace(b"wonder-land", MARK))
        self.assertEqual(relay.recording(end, "out"), b"* OK\r\na OK in\r\n")
        self.assertEqual(end["recording"], "pre-login")

    def test_mail_without_a_login(self):
        said = [(b"EHLO x\r\n", b"250 x\r\n"), (b"MAIL FROM:<a@x>\r\n", b"250 ok\r\n"), (b"RCPT TO:<b@x>\r\n", b"250 ok\r\n")]
        server = self.serve(server_of(b"220 x\r\n", *said))
        relay = self.start(server, "--protocol", "smtp", "--pre-login")
        self.session(relay, b"220 x\r\n", said, b"DATA and so on")
        end = relay.wait_ends(1)[0]
        self.assertEqual(relay.recording(end, "in"), b"EHLO x\r\nMAIL FROM:<a@x>\r\n")
        self.assertEqual(relay.recording(end, "out"), b"220 x\r\n250 x\r\n")
        self.assertEqual((end["recording"], end["login"]), ("pre-login", "none"))

    def test_nobody_logs_in(self):
        said = [(b"a NOOP\r\n", b"a OK\r\n"), (b"b LOGIN alice wrong-land\r\n", b"b NO\r\n")]
        server = self.serve(server_of(b"* OK\r\n", *said))
        relay = self.start(server, "--protocol", "imap", "--pre-login")
        self.session(relay, b"* OK\r\n", said, b"c NOOP\r\n")
        end = relay.wait_ends(1)[0]
        self.assertEqual(relay.recording(end, "in"), b"a NOOP\r\nb LOGIN alice <redacted>\r\nc NOOP\r\n")
        self.assertEqual((end["recording"], end["login"], end["user"]), ("complete", "fail", "alice"))

    def test_where_there_is_no_login(self):
        with tempfile.TemporaryDirectory() as directory:
            for protocol in ("raw", "lmtp"):
                for options in (("--pre-login",), ("--dir", directory + "/%{user}")):
                    where = () if "--dir" in options else ("--dir", directory)
                    code, _, errors = run("--listen", "127.0.0.1:0", "--connect", "127.0.0.1:9", *where, "--protocol",
                                          protocol, *options)
                    self.assertEqual((code, len(errors.splitlines())), (64, 1), errors)
                    self.assertIn("login" if "--pre-login" in options else "logs in", errors)

    def test_who_keeps_credentials_is_warned(self):
        with tempfile.TemporaryDirectory() as directory:
            self.assertEqual(run("--listen", "127.0.0.1:0", "--connect", ":9", "--dir", directory, "--secrets", "redact")[0], 64)
        for options, warnings in (((), 1), (("--protocol", "imap", "--secrets", "keep"), 1), (("--protocol", "imap"), 0)):
            relay = self.start("127.0.0.1:9", *options)
            said = [line for line in relay.lines if "passwords" in line or "credentials" in line]
            self.assertEqual(len(said), warnings, relay.lines)


class Users(EndToEnd):
    """`--dir …/%{user}`: a directory for whoever made one."""

    @staticmethod
    def script(connection):
        """An IMAP server that lets everybody in, and wants each literal."""
        connection.sendall(b"* OK ready\r\n")
        reader = connection.makefile("rb")
        while line := reader.readline():
            tag = line.split()[0]
            while line.rstrip().endswith(b"}"):
                header = line.rstrip().rpartition(b"{")[2].rstrip(b"}")
                if not header.endswith(b"+"):
                    connection.sendall(b"+ go on\r\n")
                reader.read(int(header.rstrip(b"+")))
                line = reader.readline()
            connection.sendall(tag + b" OK done\r\n")

    def setUp(self):
        self.root = os.path.join(tempfile.mkdtemp(), "recordings")
        os.mkdir(self.root)
        self.server = self.serve(ScriptedServer(self.script))

    def relay(self, *options):
        return self.start(self.server, "--protocol", "imap", *options, directory=self.root,
                          directory_option=os.path.join(self.root, "%{user}"))

    def log_in(self, relay, name, number, before=()):
        """A session of somebody, who says something and waits for the answer before; its end record."""
        with connect(relay.address) as client:
            for line in before:
                client.sendall(line)
                while not client.recv(65536).endswith(b"x OK done\r\n"):
                    pass
            client.sendall(b"a LOGIN {%d+}\r\n%s {6+}\r\nsecret\r\nb NOOP\r\n" % (len(name), name))
            client.shutdown(socket.SHUT_WR)
            receive_until_end(client)
        return sorted(relay.wait_ends(number), key=lambda end: int(end["id"].rsplit(".", 1)[1]))[-1]

    def everything(self):
        """All files below the parent of the recordings, but for the index."""
        return {os.path.relpath(os.path.join(os.fsencode(parent), os.fsencode(name)), os.fsencode(self.root))
                for parent, _, files in os.walk(os.path.dirname(self.root)) for name in files if name != "sessions.jsonl"}

    def test_names_that_nobody_should_have(self):
        relay = self.relay()
        # Whatever a name could be turned into is there.
        for name in (b"x", b"a", b"a/b", b"a_b", b"a%2Fb", b"x..", b"long" * 60):
            os.makedirs(os.path.join(os.fsencode(self.root), name), exist_ok=True)
        os.makedirs(os.path.join(os.path.dirname(self.root), "x"))
        names = [b"../x", b"a/b", b"", b"a\0", b"a\n", b"a\r\nb", b"\0", b".", b"..", b".x", b"/", b"/etc", b"x/", b"x/.",
                 b"\x7f", b"a\x1b[2J", b"long" * 1024, b"n" * 256, b"x/../../x"]
        for number, name in enumerate(names, 1):
            with self.subTest(name[:20]):
                end = self.log_in(relay, name, number)
                self.assertEqual((end["recording"], end["in_file"], end["login"]), ("none", 0, "ok"), end)
        self.assertEqual(self.everything(), set())

    def test_names_that_are_unusual(self):
        relay = self.relay()
        names = [b"alice", b"Alice", b"a b", b"a_b", b"a%2Fb", b"a@b.test", b"\xe4", "\N{LATIN SMALL LETTER A WITH DIAERESIS}".encode(),
                 b"x..", b"-t", b"%{ip}", b"~", b"*", b"n" * 255]
        for name in names:
            os.mkdir(os.path.join(os.fsencode(self.root), name))
        for number, name in enumerate(names, 1):
            end = self.log_in(relay, name, number)
            self.assertEqual((end["recording"], end["redacted"]), ("complete", 1), (name, end))
            directory = os.path.join(os.fsencode(self.root), name)
            self.assertEqual(sorted(os.listdir(directory)),
                             [os.fsencode(end["id"]) + b".in", os.fsencode(end["id"]) + b".out"], name)
            with open(os.path.join(directory, os.fsencode(end["id"]) + b".in"), "rb") as file:
                self.assertEqual(file.read(), b"a LOGIN {%d+}\r\n%s {6+}\r\n<redacted>\r\nb NOOP\r\n" % (len(name), name))
        self.assertEqual(len(self.everything()), 2 * len(names))

    def test_who_made_no_directory_is_not_recorded(self):
        relay = self.relay()
        end = self.log_in(relay, b"alice", 1)
        self.assertEqual((end["recording"], end["user"], end["redacted"]), ("none", "alice", 0))
        self.assertEqual(self.everything(), set())
        # A link is no directory of hers; a file is none at all.
        os.symlink("/tmp", os.path.join(self.root, "bob"))
        with open(os.path.join(self.root, "carol"), "w", encoding="ascii"):
            pass
        for number, name in enumerate((b"carol",), 2):
            self.assertEqual(self.log_in(relay, name, number)["in_file"], 0)

    def test_much_before_the_login(self):
        os.mkdir(os.path.join(self.root, "alice"))
        relay = self.relay("--log-memory", "1M")
        # More than a session may hold: what is lost is said, and never what is secret is recorded.
        end = self.log_in(relay, b"alice", 1, before=[b"x NOOP " + b"y" * 8000 + b"\r\n"] * 100)
        self.assertEqual((end["user"], end["login"]), ("alice", "ok"))
        self.assertEqual(end["recording"], "lossy")
        self.assertEqual(end["in_recorded"] + end["out_recorded"] + end["dropped"], end["in_bytes"] + end["out_bytes"])
        self.assertEqual(end["dropped"], sum(gap["bytes"] for gap in end["gaps"]))
        self.assertEqual(redaction.leaks(self.root, [b"\r\nsecret\r\n"]), [])


class BadInput(EndToEnd):
    """What nobody should send passes unaltered, takes bounded memory, and is doubted."""

    def relayed(self, protocol, said, answered, *options, secrets=()):
        """Both sides say something to one another, all at once. The relay, which has relayed it."""
        def script(connection):
            connection.sendall(answered)
            received = receive_all(connection)
            self.assertTrue(received == said, "the server got something else")

        server = self.serve(ScriptedServer(script))
        relay = self.start(server, "--protocol", protocol, *options)
        with connect(relay.address) as client:
            sender = threading.Thread(target=client.sendall, args=(said,))
            sender.start()
            self.assertTrue(receive_exactly(client, len(answered)) == answered, "the client got something else")
            sender.join()
            client.shutdown(socket.SHUT_WR)
            receive_until_end(client)
        end = relay.wait_ends(1)[0]
        self.assertEqual((end["in_bytes"], end["out_bytes"]), (len(said), len(answered)))
        self.assertEqual(leaks(relay.directory, secrets), [])
        return relay, end

    def test_lines_without_an_end(self):
        long = b"x" * (2 * MIB)
        lines = {
            "imap": (b"a LOGIN alice " + long, b"* OK " + long),
            "pop3": (b"PASS " + long, b"+OK " + long),
            "smtp": (b"AUTH PLAIN " + long, b"250-" + long),
            "lmtp": (b"AUTH PLAIN " + long, b"250-" + long),
            "sieve": (b'AUTHENTICATE "PLAIN" "' + long, b'"' + long),
        }
        for protocol, (said, answered) in lines.items():
            for options in ((), ("--layout", "merged"), ("-bt",)):
                with self.subTest(protocol, options=options):
                    relay, end = self.relayed(protocol, said, answered, *options, secrets=[b"x" * 60 + b"\r", ])
                    self.assertEqual(end["redacted"], 1)
                    layout = "merged" if "merged" in options else "both" if options else "pair"
                    found = decode(relay.directory, end["id"], layout)
                    self.assertTrue(found["in"].endswith(MARK) and len(found["in"]) < 100)
                    self.assertTrue(found["out"] == answered)

    def test_a_line_that_never_ends_takes_bounded_memory(self):
        part = payload(3, MIB).replace(b"\n", b"x")

        def script(connection):
            connection.sendall(b"* OK\r\n")
            receive_until_end(connection)

        server = self.serve(ScriptedServer(script))
        for start in (b"a LOGIN alice ", b"", b"a LOGIN {18446744073709551616+}\r\n", b"a X {9223372036854775807+}\r\n", b'a LOGIN "'):
            relay = self.start(server, "--protocol", "imap")
            with connect(relay.address) as client:
                client.sendall(start + part)
                wait_until(lambda: relay.resident_bytes(), what="the relay")
                before = relay.resident_bytes()
                for _ in range(48):
                    client.sendall(part)
                grown = relay.resident_bytes() - before
                client.shutdown(socket.SHUT_WR)
                receive_until_end(client)
            self.assertLess(grown, 40 * MIB, start)
            self.assertEqual(relay.wait_ends(1)[0]["in_bytes"], len(start) + 49 * len(part))

    def test_what_makes_no_sense(self):
        cases = {
            "literal of 2^64": ("imap", b"a LOGIN alice {18446744073709551616}\r\nwonder-land\r\nb NOOP\r\n", b"* OK\r\n"),
            "literal of 2^64, not waited for": (
                "imap", b"a LOGIN alice {18446744073709551616+}\r\nwonder-land\r\nb NOOP\r\n", b"* OK\r\n"),
            "literal of 2^200": ("imap", b"a LOGIN alice {" + b"9" * 60 + b"+}\r\nwonder-land\r\n", b"* OK\r\n"),
            "quotes in quotes": ("imap", b'a LOGIN "al"ice" "won"der-land"wonder-land" wonder-land\r\n', b"* OK\r\n"),
            "no end of a quote": ("imap", b'a LOGIN "alice" "wonder-land\r\nwonder-land\r\n', b"* OK\r\n"),
            "NUL": ("imap", b"a LOGIN al\0ice won\0der-land\0wonder-land\r\n", b"* OK\0\r\n"),
            "answers to nothing": ("imap", b"a LOGIN alice wonder-land\r\n", b"* OK\r\na OK\r\nq OK\r\n+ \r\n+ x\r\n* BAD\r\n"),
            "behind BYE": ("imap", b"a LOGIN alice wonder-land\r\nb LOGIN alice wonder-land\r\n", b"* BYE\r\n"),
            "pop3": ("pop3", b"PASS wonder-land\r\nPASS\r\nPASS \r\nAPOP\r\nAPOP alice wonder-land x\r\n",
                     b"+OK\r\n-ERR\r\n+ \r\n+OK\r\n+OK\r\n+OK\r\n+OK\r\n+OK\r\n"),
            "smtp": ("smtp", b"AUTH\r\nAUTH PLAIN\r\nwonder-land\r\nAUTH X wonder-land wonder-land\r\nwonder-land\r\n",
                     b"999 x\r\n334\r\n334 x\r\nabc\r\n235 x\r\n\r\n"),
            "sieve": ("sieve", b'AUTHENTICATE "PLAIN" {18446744073709551616+}\r\nwonder-land\r\n', b'"x\r\nOK\r\nOK\r\n'),
            "sieve, quotes": ("sieve", b'AUTHENTICATE "PLAIN" "won"der-land" wonder-land\r\n"wonder-land"\r\n', b"OK\r\n"),
        }
        for name, (protocol, said, answered) in cases.items():
            for options in ((), ("-bt",), ("--layout", "merged"), ("--pre-login",)):
                with self.subTest(name, options=options):
                    self.relayed(protocol, said, answered, *options, secrets=[b"wonder-land", b"der-land"])


if __name__ == "__main__":
    unittest.main()
