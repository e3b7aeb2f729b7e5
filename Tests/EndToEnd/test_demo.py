"""The demonstration that `make demo` runs: its output, its exit codes, and the mail server inside."""

import contextlib
import imaplib
import os
import re
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import unittest

from relay import PROGRAM, ROOT

DEMO = os.path.join(ROOT, "demo", "demo.py")
RESPONDER = os.path.join(ROOT, "demo", "imap_responder.py")
TIMEOUT = 60


class DemoTest(unittest.TestCase):
    def setUp(self):
        self.stack = contextlib.ExitStack()
        self.addCleanup(self.stack.close)
        self.directory = self.stack.enter_context(tempfile.TemporaryDirectory(prefix="demo-test-"))

    def run_demo(self, *arguments):
        """Exit code, standard output and standard error; the demonstration may leave no file behind."""
        temporary = os.path.join(self.directory, "tmp")
        os.mkdir(temporary)
        done = subprocess.run([sys.executable, DEMO, *arguments], stdin=subprocess.DEVNULL, capture_output=True,
                              timeout=2 * TIMEOUT, env={**os.environ, "TMPDIR": temporary})
        self.assertEqual(os.listdir(temporary), [])
        return done.returncode, done.stdout.decode("ascii"), done.stderr.decode("utf-8")

    def program(self, text):
        """A shell script that takes the recorder's place."""
        path = os.path.join(self.directory, "recorder")
        with open(path, "w", encoding="utf-8") as file:
            file.write("#!/bin/sh\n" + text)
        os.chmod(path, stat.S_IRWXU)
        return path

    def assert_fails(self, program, reason):
        status, _, errors = self.run_demo(program)
        self.assertEqual(status, 1, errors)
        self.assertRegex(errors, rf"\Ademo: failed: [^\n]*{reason}[^\n]*\n\Z")

    def test_prints_both_recordings_and_the_index(self):
        status, output, errors = self.run_demo(PROGRAM)
        self.assertEqual((status, errors), (0, ""), output)
        # The file stem ties the three headings together.
        stem = re.search(r"^=== (\d{8}-\d{6}\.\d+\.\d+)\.in: ", output, re.MULTILINE).group(1)
        parts = re.split(r"^=== (.*)\n", output, flags=re.MULTILINE)
        sections = dict(zip(parts[1::2], parts[2::2]))
        sent = next(text for title, text in sections.items() if title.startswith(f"{stem}.in: "))
        answered = next(text for title, text in sections.items() if title.startswith(f"{stem}.out: "))
        index = next(text for title, text in sections.items() if title.startswith("sessions.jsonl: "))
        for command in ("LOGIN demo", "SELECT INBOX", "FETCH 1 ", "LOGOUT"):
            self.assertRegex(sent, rf"(?m)^    \d{{10}}\.\d{{6}} \w+ {command}")
        for answer in (r"\* OK ", r"\* 3 EXISTS", "Subject: Welcome", r"\* BYE "):
            self.assertRegex(answered, rf"(?m)^    \d{{10}}\.\d{{6}} {answer}")
        self.assertEqual(len(re.findall(r'"event": ?"start"', index)), 1)
        self.assertEqual(len(re.findall(r'"event": ?"end"', index)), 1)
        self.assertIn(stem, index)
        self.assertIn("this recording contains the password in clear; files are 0600.", output)

    def test_output_cannot_control_a_terminal(self):
        status, output, errors = self.run_demo(PROGRAM)
        self.assertEqual((status, errors), (0, ""), output)
        # A message has a colour sequence and 8-bit text: both are there, harmless.
        self.assertIn("\\x1b[31mRed\\x1b[0m", output)
        self.assertIn("caf\\xc3\\xa9", output)
        self.assertEqual([c for c in output if c != "\n" and not " " <= c <= "~"], [])

    def test_without_an_argument(self):
        status, _, errors = self.run_demo()
        self.assertEqual((status, errors), (64, "demo: usage: demo.py PATH-OF-URING-RAWLOG\n"))

    def test_program_that_is_not_there(self):
        status, _, errors = self.run_demo(os.path.join(self.directory, "absent"))
        self.assertEqual(status, 66)
        self.assertRegex(errors, r"\Ademo: there is no program \S*absent; build it first[^\n]*\n\Z")

    def test_program_that_does_not_start(self):
        self.assert_fails(self.program("echo 'no ring here' >&2\nexit 69\n"), "no ring here")

    def test_program_that_is_no_program(self):
        path = os.path.join(self.directory, "text")
        with open(path, "w", encoding="ascii") as file:
            file.write("text\n")
        self.assert_fails(path, "Permission denied")

    def test_recording_that_lacks_a_direction(self):
        self.assert_fails(self.program(f"exec '{PROGRAM}' \"$@\" -f in\n"), r"cannot read \S+\.out")

    def test_recording_that_has_more_than_was_sent(self):
        # With boundaries the lines no longer are what the demonstration asked for.
        self.assert_fails(self.program(f"exec '{PROGRAM}' \"$@\" -b\n"), "no time stamp")

    def test_recorder_that_ends_badly(self):
        script = f"'{PROGRAM}' \"$@\" &\ntrap 'kill $!; wait; exit 74' TERM\nwait\n"
        self.assert_fails(self.program(script), "exit code 74")


class ResponderTest(unittest.TestCase):
    """The mail server alone."""

    def setUp(self):
        self.process = subprocess.Popen([sys.executable, RESPONDER], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        stderr=subprocess.PIPE)
        self.addCleanup(self.end)
        self.port = int(self.process.stdout.readline())

    def end(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        for stream in (self.process.stdin, self.process.stdout, self.process.stderr):
            stream.close()

    def client(self, login=True):
        client = imaplib.IMAP4("127.0.0.1", self.port, timeout=TIMEOUT)
        self.addCleanup(self.drop, client)
        if login:
            client.login("demo", "open-sesame")
        return client

    @staticmethod
    def drop(client):
        with contextlib.suppress(OSError):
            client.shutdown()

    def ask(self, *parts):
        """Sends bytes, one part for each line of answer, then reads to the end."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=TIMEOUT) as connection:
            file = connection.makefile("rb")
            file.readline()
            for part in parts[:-1]:
                connection.sendall(part)
                file.readline()
            connection.sendall(parts[-1])
            connection.shutdown(socket.SHUT_WR)
            return file.read()

    def test_ends_with_its_input(self):
        self.process.stdin.close()
        self.assertEqual(self.process.wait(TIMEOUT), 0)
        self.assertEqual(self.process.stderr.read(), b"")

    def test_ends_on_sigterm_while_a_client_is_there(self):
        self.client()
        self.process.send_signal(signal.SIGTERM)
        self.assertEqual(self.process.wait(TIMEOUT), 0)
        self.assertEqual(self.process.stderr.read(), b"")

    def test_ordinary_session(self):
        client = self.client()
        self.assertEqual(client.select("INBOX"), ("OK", [b"3"]))
        self.assertEqual(client.noop()[0], "OK")
        status, data = client.fetch("1:2,3", "(UID RFC822.SIZE BODY.PEEK[])")
        self.assertEqual(status, "OK")
        messages = [part for part in data if isinstance(part, tuple)]
        self.assertEqual(len(messages), 3)
        for number, (description, content) in enumerate(messages, 1):
            self.assertTrue(description.startswith(b"%d (UID %d RFC822.SIZE %d BODY[] {" %
                                                   (number, number, len(content))), description)
        header = client.fetch("*", "(BODY[HEADER])")[1][0][1]
        body = client.fetch("3", "BODY[TEXT]")[1][0][1]
        self.assertEqual(header + body, messages[2][1])
        self.assertEqual(client.select("INBOX", readonly=True)[0], "OK")
        self.assertEqual(client.logout()[0], "BYE")

    def test_wrong_password_is_no(self):
        with self.assertRaisesRegex(imaplib.IMAP4.error, "AUTHENTICATIONFAILED"):
            self.client(login=False).login("demo", "wrong")

    def test_other_mailbox_is_no(self):
        self.assertEqual(self.client().select("Archive")[0], "NO")

    def test_what_it_does_not_know_or_not_now_is_bad(self):
        answers = self.ask(b"a SELECT INBOX\r\nb FETCH 1 FLAGS\r\nc FROBNICATE\r\nd LOGIN demo\r\n"
                           b"e LOGIN \"demo\r\n\r\n{}\r\nf\r\ng NOOP\r\nh LOGIN demo open-sesame\r\n"
                           b"i LOGIN demo open-sesame\r\nj FETCH 1 FLAGS\r\nk SELECT INBOX\r\nl FETCH 9 FLAGS\r\n"
                           b"m FETCH 1,,2 FLAGS\r\nn FETCH 1 (ENVELOPE)\r\no FETCH 1 FLAGS\r\np LOGOUT\r\n")
        tagged = [tuple(line.split(b" ")[:2]) for line in answers.splitlines()]
        expected = [(tag.encode(), b"BAD") for tag in "abcde"] + [(b"*", b"BAD")] * 2 + [
            (b"f", b"BAD"), (b"g", b"OK"), (b"h", b"OK"), (b"i", b"BAD"), (b"j", b"BAD"), (b"k", b"OK"),
            (b"l", b"BAD"), (b"m", b"BAD"), (b"n", b"BAD"), (b"o", b"OK"), (b"p", b"OK")]
        self.assertEqual([t for t in tagged if t[0] != b"*" or t[1] == b"BAD"], expected)

    def test_login_with_literals(self):
        answers = self.ask(b"a LOGIN {4}\r\n", b"demo {11}\r\n", b"open-sesame\r\nb LOGIN {4+}\r\nab c x\r\nc NOOP\r\n")
        self.assertEqual([line.split(b" ")[:2] for line in answers.splitlines()],
                         [[b"a", b"OK"], [b"b", b"BAD"], [b"c", b"OK"]])

    def test_line_and_literal_beyond_the_limits_end_the_session(self):
        # Hardly longer than the limit: closing on what it has not read would reset the connection.
        self.assertRegex(self.ask(b"a NOOP " + b"x" * 9000 + b"\r\n"), rb"\A\* BYE [^\n]*\n\Z")
        self.assertRegex(self.ask(b"a LOGIN {1000000}\r\n"), rb"\A\* BYE [^\n]*\n\Z")


if __name__ == "__main__":
    unittest.main()
