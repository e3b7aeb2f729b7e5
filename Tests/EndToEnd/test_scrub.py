"""`uring-rawlog scrub`: recordings of Dovecot's own, and what is wrong with a command line or a file. What the relay
records is scrubbed in test_mail_clients.py and test_dialogue.py."""

import imaplib
import os
import socket
import tempfile
import unittest

import dovecot
from dovecot import Dovecot
from redaction import MARK, leaks, restored
from rawlog import ORIGINAL, Home, Session, why_no_original
from relay import run, wait_until

WHY_NOT = dovecot.why_unavailable()


class Scrub(unittest.TestCase):
    def setUp(self):
        self.directory = self.enterContext(tempfile.TemporaryDirectory(prefix="uring-rawlog-scrub-"))

    def path(self, name):
        return os.path.join(self.directory, name)

    def write(self, name, content):
        os.makedirs(os.path.dirname(self.path(name)), exist_ok=True)
        with open(self.path(name), "wb") as file:
            file.write(content)

    def read(self, name):
        with open(self.path(name), "rb") as file:
            return file.read()

    def scrub(self, source, target="to", protocol="imap", code=0):
        """Scrubs; what it said on its two outputs."""
        done = run("scrub", "--protocol", protocol, "--output", self.path(target), source)
        self.assertEqual(done[0], code, done)
        return done[1:]


@unittest.skipIf(WHY_NOT, WHY_NOT)
class OfDovecot(Scrub):
    def test_what_is_recorded_behind_the_login_stays_as_it_is(self):
        with Dovecot(("imap",), rawlog=True) as server:
            client = imaplib.IMAP4(*server.address("imap"))
            client.login(server.user, server.password)
            client.append("INBOX", None, None, b"x LOGIN alice not-hers\r\n.\r\n" * 20)
            client.select("INBOX")
            client.fetch("1", "(BODY[])")
            client.logout()
            names = wait_until(lambda: len(os.listdir(server.rawlog_directory)) == 2 and os.listdir(server.rawlog_directory),
                               what="Dovecot's recording")
            self.assertIn(" 0 credentials ", self.scrub(server.rawlog_directory)[0])
            for name in names:
                with open(os.path.join(server.rawlog_directory, name), "rb") as file:
                    self.assertEqual(self.read(f"to/{name}"), file.read())

    @unittest.skipIf(os.geteuid() != 0, "the directory must belong to Dovecot's user for logins")
    def test_logins(self):
        with Dovecot(("imap",), login_rawlog=True) as server:
            for login in (b'a LOGIN alice "wonder-land"\r\n', b"a LOGIN alice wrong-land\r\na LOGIN alice wonder-land\r\n"):
                with socket.create_connection(server.address("imap"), timeout=30) as client:
                    client.sendall(login)
                    seen = b""
                    while b"a OK" not in seen:
                        seen += client.recv(65536)
                    client.sendall(b"b LOGOUT\r\n")
                    while client.recv(65536):
                        pass
            source = server.login_rawlog_directory
            before = {name: self.read(os.path.join(source, name)) for name in os.listdir(source)}
            self.assertIn(b"wonder-land", b"".join(before.values()))
            self.assertIn(" 3 credentials ", self.scrub(source)[0])
        self.assertEqual(leaks(self.path("to"), [b"wonder-land", b"wrong-land"]), [])
        for name, content in before.items():
            restored(self.read(f"to/{name}"), content)

    @unittest.skipIf(why_no_original(), why_no_original())
    def test_its_rawlog_in_all_its_forms(self):
        # What it records behind a login has no passwords: here a client talks to the program itself.
        said = b"a NOOP\r\nb LOGIN alice wonder-land\r\nc NOOP\r\n"
        for flags in ((), ("-t",), ("-b",), ("-bt",)):
            with self.subTest(flags), Home() as home:
                with Session(ORIGINAL, *flags, home=home.path) as session:
                    session.client.sendall(said)
                    # It writes a second later.
                    files = wait_until(lambda: any(home.files().values()) and home.files(), what="the recording")
                target = "".join(flags) or "none"
                self.scrub(home.directory, target)
                for name, content in files.items():
                    found = self.read(f"{target}/{name}")
                    if name.endswith(".in"):
                        self.assertEqual(restored(found, content), [b"wonder-land"])
                    else:
                        self.assertEqual(found, content)


class Collected(Scrub):
    def test_a_stream_of_the_collector(self):
        """What `--dir tcp:` sends, as Dovecot's `rawlog_dir = tcp:` does, saved under any name."""
        stream = (b"1795340682.095328 O: * OK ready\r\n1795340682.095329 I: a LOGIN alice wonder-land\r\n"
                  b"1795340682.095330 I> b LOGIN alice wond\n1795340682.095331 I: er-land\r\n")
        self.write("stream", stream)
        self.scrub(self.path("stream"))
        self.assertEqual(self.read("to/stream"), stream.replace(b"alice wonder-land", b"alice " + MARK)
                         .replace(b"alice wond\n", b"alice " + MARK + b"\n").replace(b": er-land\r", b": \r"))


class Wrong(Scrub):
    def one_line(self, text, *arguments, code):
        found, output, errors = run(*arguments)
        self.assertEqual((found, output, len(errors.splitlines())), (code, "", 1), errors)
        self.assertIn(text, errors)
        return errors

    def test_usage(self):
        self.write("from/20260131-091500.1.1.in", b"a LOGIN alice secret\r\n")
        source, target = self.path("from"), ("--output", self.path("to"))
        for text, arguments in (
                ("--protocol", ("scrub", *target, source)), ("raw", ("scrub", "--protocol", "raw", *target, source)),
                ("nntp", ("scrub", "--protocol", "nntp", *target, source)), ("--output", ("scrub", "--protocol", "imap", source)),
                ("empty", ("scrub", "--protocol", "imap", "--output", "", source)),
                ("lies in", ("scrub", "--protocol", "imap", "--output", source, source)),
                ("twice", ("scrub", "--protocol", "imap", "--protocol", "imap", *target, source)),
                ("empty", ("scrub", "--protocol", "imap", *target, ""))):
            with self.subTest(arguments):
                errors = self.one_line(text, *arguments, code=64)
                self.assertIn("see 'uring-rawlog scrub --help'", errors)
        self.assertFalse(os.path.exists(self.path("to")))

    def test_what_cannot_be_read(self):
        self.write("binary", bytes(range(256)) * 10)
        self.write("empty-directory/x", b"")
        os.mkfifo(self.path("fifo.in"))
        for source, code, text in (("missing", 66, "cannot find"), ("binary", 65, "no recording"), ("fifo.in", 66, "FIFO"),
                                   ("empty-directory", 66, "no recording")):
            with self.subTest(source):
                _, errors = self.scrub(self.path(source), code=code)
                self.assertEqual(len(errors.splitlines()), 1, errors)
                self.assertIn(text, errors)
        self.assertEqual(os.listdir(self.path("to")), [])

    def test_what_cannot_be_written(self):
        self.write("from/20260131-091500.1.1.in", b"a LOGIN alice secret\r\n")
        self.write("to/20260131-091500.1.1.in", b"mine")
        _, errors = self.scrub(self.path("from"), code=73)
        self.assertEqual(len(errors.splitlines()), 1, errors)
        self.assertEqual(self.read("to/20260131-091500.1.1.in"), b"mine")
        if os.path.exists("/dev/full"):
            # A disk that is full, seen from a file size limit.
            import resource
            self.write("large/20260131-091500.1.1.in", b"a NOOP\r\n" * 100_000)

            def limit():
                import signal
                signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
                resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))

            code, _, errors = run("scrub", "--protocol", "imap", "--output", self.path("full"), self.path("large"),
                                  preexec_fn=limit)
            self.assertEqual((code, len(errors.splitlines())), (74, 1), errors)
            self.assertEqual(os.listdir(self.path("full")), [])

    def test_a_directory_with_directories(self):
        for name in ("from/192.0.2.1/20260131-091500.1.1", "from/192.0.2.2/20260131-091500.1.2"):
            self.write(f"{name}.in", b"a LOGIN alice wonder-land\r\n")
            self.write(f"{name}.out", b"* OK\r\na OK\r\n")
        self.assertIn("2 sessions, 4 files: 2 credentials", self.scrub(self.path("from"))[0])
        self.assertEqual(self.read("to/192.0.2.2/20260131-091500.1.2.in"), b"a LOGIN alice <redacted>\r\n")
        self.assertEqual(leaks(self.path("to"), [b"wonder-land"]), [])
        self.assertEqual(os.stat(self.path("to/192.0.2.2")).st_mode & 0o777, 0o700)
        self.assertEqual(os.stat(self.path("to/192.0.2.2/20260131-091500.1.2.in")).st_mode & 0o777, 0o600)


if __name__ == "__main__":
    unittest.main()
