"""docs/DOVECOT.md: its commands run, and what it says of Dovecot's own recordings is so."""

import imaplib
import os
import re
import shlex
import smtplib
import socket
import subprocess
import tempfile
import unittest

import dovecot
from dovecot import Dovecot, SmtpSink
from relay import PROGRAM, ROOT, Relay, wait_until
from tls import CERTIFICATES

WHY_NOT = dovecot.why_unavailable()
STAMP = re.compile(rb"^\d{10}\.\d{6} ", re.MULTILINE)
RAWLOG = os.environ.get("RAWLOG", os.path.join(ROOT, ".build", "release", "rawlog"))


def commands(program):
    """The commands of the page that start a program."""
    with open(os.path.join(ROOT, "docs", "DOVECOT.md"), encoding="utf-8") as page:
        return [line.strip() for line in page if line.startswith("    " + program + " ")]


def without_stamps(recording):
    return STAMP.sub(b"", recording)


def read(path):
    with open(path, "rb") as file:
        return file.read()


class Commands(unittest.TestCase):
    def test_every_relay_starts(self):
        lines = [line for line in commands("uring-rawlog") if "--listen" in line]
        self.assertGreaterEqual(len(lines), 7)
        for line in lines:
            with self.subTest(line), tempfile.TemporaryDirectory() as directory:
                words = shlex.split(line)[1:]
                listen = words.index("--listen")
                del words[listen:listen + 2]
                words[words.index("--connect") + 1] = "127.0.0.1:143"
                words = [CERTIFICATES.in_place_of(word).replace("/var/log/rawlog", directory) for word in words]
                place = words.index("--dir")
                given = words[place + 1]
                del words[place:place + 2]
                connect = words.index("--connect")
                del words[connect:connect + 2]
                with Relay("127.0.0.1:143", *words, directory=directory, directory_option=given) as relay:
                    self.assertEqual(len(relay.addresses), 1)

    def test_show_reads_a_directory(self):
        self.assertIn("uring-rawlog show /var/log/rawlog", commands("uring-rawlog"))
        with Relay("127.0.0.1:9", "-t") as relay:
            with socket.create_connection(("127.0.0.1", relay.port)):
                pass
            relay.wait_ends(1)
            shown = subprocess.run([PROGRAM, "show", relay.directory], capture_output=True, timeout=60)
            self.assertEqual((shown.returncode, shown.stderr), (0, b""))

    def test_the_drop_in_starts_its_target(self):
        for line in commands("rawlog"):
            words = shlex.split(line)
            with self.subTest(line), tempfile.TemporaryDirectory() as home:
                ran = subprocess.run([RAWLOG, *words[1:]], env={"HOME": home}, stdin=subprocess.DEVNULL,
                                     capture_output=True, timeout=60)
                self.assertEqual((ran.returncode, ran.stdout), (0, b"hello\n"))


@unittest.skipIf(WHY_NOT, WHY_NOT)
class Beside(unittest.TestCase):
    def test_rawlog_dir_holds_the_end_of_what_the_recorder_holds(self):
        with Dovecot(("imap",), rawlog=True) as server, \
                Relay("%s:%d" % server.address("imap"), "--protocol", "imap", "-t") as relay:
            client = imaplib.IMAP4("127.0.0.1", relay.port)
            client.login(server.user, server.password)
            client.select("INBOX")
            client.append("INBOX", None, None, b"Subject: x\r\n\r\n" + b"y" * 30_000 + b"\r\n")
            client.logout()
            end = relay.wait_ends(1)[0]
            stem = os.path.join(relay.directory, end["id"])
            ours = {kind: without_stamps(read(f"{stem}.{kind}")) for kind in ("in", "out")}
            names = wait_until(lambda: sorted(os.listdir(server.rawlog_directory)), what="Dovecot's recording")
            theirs = {name.rsplit(".", 1)[1]: without_stamps(read(os.path.join(server.rawlog_directory, name)))
                      for name in names}
            for kind in ("in", "out"):
                self.assertGreater(len(theirs[kind]), 30)
                self.assertTrue(ours[kind].endswith(theirs[kind]), kind)
            # Ours has what came before, the password aside.
            self.assertIn(b"LOGIN alice", ours["in"])
            self.assertNotIn(server.password.encode(), ours["in"])
            self.assertEqual((end["user"], end["login"], end["redacted"]), ("alice", "ok", 1))

    def test_submission_in_front_of_the_service_and_behind_it(self):
        with SmtpSink() as sink, \
                Relay(f"127.0.0.1:{sink.port}", "--protocol", "smtp", "--leg", "back", "-t") as behind, \
                Dovecot(("submission",), relay_port=behind.port) as server, \
                Relay("%s:%d" % server.address("submission"), "--protocol", "smtp", "-t") as front:
            client = smtplib.SMTP("127.0.0.1", front.port)
            client.ehlo("client.test.invalid")
            client.login(server.user, server.password)
            client.sendmail("alice@test.invalid", ["bob@test.invalid"], "Subject: x\r\n\r\nhello\r\n")
            client.quit()
            ends = {}
            for name, relay in (("front", front), ("behind", behind)):
                def ended(relay=relay):
                    return [record for record in relay.records("end") if record["in_bytes"] > 100]
                ends[name] = (relay, wait_until(ended, what=f"the end of the session {name}")[0])
            self.assertEqual(len(sink.messages), 1)
            relay, end = ends["behind"]
            said = read(os.path.join(relay.directory, end["id"] + ".out"))
            answered = read(os.path.join(relay.directory, end["id"] + ".in"))
            # As whoever connected sees it: out is what was sent to the relay, in is what that answered.
            self.assertIn(b"MAIL FROM:", said)
            self.assertIn(b"220 sink.test.invalid", answered)
            relay, end = ends["front"]
            self.assertEqual((end["user"], end["login"]), ("alice", "ok"))
            self.assertIn(b"MAIL FROM:", read(os.path.join(relay.directory, end["id"] + ".in")).upper())


if __name__ == "__main__":
    unittest.main()
