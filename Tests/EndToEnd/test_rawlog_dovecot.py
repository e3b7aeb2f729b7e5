"""The drop-in where it belongs: `executable = script-login -d PATH/rawlog -t` in a real Dovecot.

Dovecot records the same sessions itself (`rawlog_dir`), from the moment after the login as the drop-in does; both
recordings hold the same bytes.
"""

import contextlib
import imaplib
import os
import poplib
import shutil
import smtplib
import ssl
import unittest

import dovecot
import rawlog
from dovecot import Dovecot, SmtpSink
from relay import wait_until
from test_dovecot import ImapClient, SMALL_MESSAGE, TIMEOUT, message_of, strip_stamps

PROTOCOLS = ("imap", "pop3", "submission")
WHY_NOT = dovecot.why_unavailable() or (os.geteuid() != 0 and "script-login -d needs root") or (
    shutil.which("openssl") is None and "openssl is not installed") or None
LARGE_MESSAGE = message_of(200_000, 1500)


@unittest.skipIf(WHY_NOT, WHY_NOT)
class PostLogin(unittest.TestCase):
    program = rawlog.OURS

    @classmethod
    def setUpClass(cls):
        cls.stack = contextlib.ExitStack()
        cls.addClassCleanup(cls.stack.close)
        # Dovecot's users must be able to come to the program, wherever it was built.
        directory = cls.stack.enter_context(contextlib.closing(rawlog.Home())).base
        program = shutil.copy(cls.program, os.path.join(directory, "rawlog"))
        sink = cls.stack.enter_context(SmtpSink())
        cls.sink = sink
        cls.server = cls.stack.enter_context(Dovecot(
            PROTOCOLS, relay_port=sink.port, rawlog=PROTOCOLS, postlogin=(program, "-t", "-I"), tls=True))
        cls.directory = os.path.join(cls.server.directory, "home", cls.server.user, "dovecot.rawlog")
        cls.context = ssl.create_default_context(cafile=cls.server.certificate)
        cls.fill()

    @classmethod
    def fill(cls):
        """Mail to read, stored before anybody records."""
        client = ImapClient(*cls.server.address("imap"), timeout=TIMEOUT)
        client.login(cls.server.user, cls.server.password)
        for message in (SMALL_MESSAGE, LARGE_MESSAGE):
            client.append("INBOX", None, None, message)
        client.logout()

    def setUp(self):
        os.mkdir(self.directory, 0o700)
        identity = os.stat(os.path.dirname(self.directory))
        os.chown(self.directory, identity.st_uid, identity.st_gid)
        self.identity = (identity.st_uid, identity.st_gid)
        self.addCleanup(shutil.rmtree, self.directory)
        for name in os.listdir(self.server.rawlog_directory):
            os.unlink(os.path.join(self.server.rawlog_directory, name))

    # Sessions.

    def imap(self, client):
        client.login(self.server.user, self.server.password)
        client.select("INBOX")
        self.assertTrue(client.fetch("2", "(BODY.PEEK[])")[1][0][1] == LARGE_MESSAGE)
        self.assertEqual(client.append("INBOX", None, None, LARGE_MESSAGE)[0], "OK")
        client.store("1", "+FLAGS", "\\Seen")
        client.logout()

    def pop3(self, client):
        client.user(self.server.user)
        client.pass_(self.server.password)
        self.assertTrue(b"\r\n".join(client.retr(2)[1]) + b"\r\n" == LARGE_MESSAGE)
        client.uidl()
        client.quit()

    def submission(self, client):
        client.login(self.server.user, self.server.password)
        count = len(self.sink.messages)
        client.sendmail("alice@test.invalid", ["bob@test.invalid"], SMALL_MESSAGE)
        client.quit()
        self.assertEqual(len(self.sink.messages), count + 1)

    # What is recorded.

    @staticmethod
    def recorded(directory):
        """The one recording in a directory, by direction, without stamps; None while there is none."""
        found = {}
        for name in os.listdir(directory):
            with open(os.path.join(directory, name), "rb") as file:
                found[name.rsplit(".", 1)[1]] = strip_stamps(file.read())
        return found if len(found) == 2 else None

    def check(self, beginning):
        """Both recordings hold the same, complete, in files of the user's."""
        theirs = wait_until(lambda: self.recorded(self.server.rawlog_directory), what="Dovecot's own recording")
        wait_until(lambda: self.recorded(self.directory) == theirs, what="the same recording")
        self.assertTrue(theirs["out"].startswith(beginning), theirs["out"][:100])
        self.assertNotIn(self.server.password.encode("ascii"), theirs["in"])
        for name in os.listdir(self.directory):
            self.assertRegex(name, r"^127\.0\.0\.1-\d{8}-\d{6}-\d+\.(in|out)$")
            status = os.stat(os.path.join(self.directory, name))
            self.assertEqual((status.st_uid, status.st_gid, status.st_mode & 0o777), (*self.identity, 0o600))
        return theirs

    def holds(self, part, whole):
        """As assertIn, without a message of a mail's length."""
        self.assertTrue(part in whole, f"{part[:60]!r} is not in {whole[:200]!r} ... {whole[-200:]!r}")

    def test_imap(self):
        self.imap(ImapClient(*self.server.address("imap"), timeout=TIMEOUT))
        files = self.check(b"")
        self.holds(LARGE_MESSAGE, files["in"])
        self.holds(LARGE_MESSAGE, files["out"])
        self.holds(b"LOGOUT\r\n", files["in"])

    def test_imap_with_tls(self):
        self.imap(self.tls_client(imaplib.IMAP4_SSL, "imap"))
        self.holds(LARGE_MESSAGE, self.check(b"")["in"])

    def tls_client(self, kind, protocol):
        return kind("127.0.0.1", self.server.tls_ports[protocol], ssl_context=self.context, timeout=TIMEOUT)

    def test_imap_with_starttls(self):
        client = ImapClient(*self.server.address("imap"), timeout=TIMEOUT)
        client.starttls(self.context)
        self.imap(client)
        self.holds(LARGE_MESSAGE, self.check(b"")["out"])

    def test_pop3(self):
        self.pop3(poplib.POP3(*self.server.address("pop3"), timeout=TIMEOUT))
        files = self.check(b"+OK Logged in.\r\n")
        self.holds(b"RETR 2\r\nUIDL\r\nQUIT\r\n", files["in"])

    def test_pop3_with_tls(self):
        client = poplib.POP3_SSL("127.0.0.1", self.server.tls_ports["pop3"], context=self.context, timeout=TIMEOUT)
        self.pop3(client)
        self.check(b"+OK Logged in.\r\n")

    def test_pop3_with_starttls(self):
        client = poplib.POP3(*self.server.address("pop3"), timeout=TIMEOUT)
        client.stls(self.context)
        self.pop3(client)
        self.check(b"+OK Logged in.\r\n")

    def test_submission(self):
        client = smtplib.SMTP(*self.server.address("submission"), timeout=TIMEOUT)
        self.submission(client)
        files = self.check(b"235 2.7.0 Logged in.\r\n")
        self.holds(b"rcpt TO:<bob@test.invalid>\r\n", files["in"])

    def test_submission_with_tls(self):
        client = smtplib.SMTP_SSL("127.0.0.1", self.server.tls_ports["submission"], context=self.context,
                                  timeout=TIMEOUT)
        self.submission(client)
        self.check(b"235 2.7.0 Logged in.\r\n")

    def test_submission_with_starttls(self):
        client = smtplib.SMTP(*self.server.address("submission"), timeout=TIMEOUT)
        client.starttls(context=self.context)
        self.submission(client)
        self.check(b"235 2.7.0 Logged in.\r\n")

    def test_the_client_goes_without_a_word(self):
        client = ImapClient(*self.server.address("imap"), timeout=TIMEOUT)
        client.login(self.server.user, self.server.password)
        client.select("INBOX")
        client.shutdown()
        self.check(b"")

    def test_many_at_once(self):
        clients = [ImapClient(*self.server.address("imap"), timeout=TIMEOUT) for _ in range(10)]
        for client in clients:
            client.login(self.server.user, self.server.password)
        for client in clients:
            client.select("INBOX")
        for client in clients:
            client.logout()

        def contents():
            names = sorted(os.listdir(self.directory))
            return [strip_stamps(open_and_read(os.path.join(self.directory, name))) for name in names]

        wait_until(lambda: len(contents()) == 20 and all(b"LOGOUT" in text.upper() for text in contents()),
                   what="twenty complete files")

    def test_no_directory(self):
        """The session is not recorded, and as it would be without anything between."""
        os.rename(self.directory, self.directory + ".away")
        self.addCleanup(os.rename, self.directory + ".away", self.directory)
        self.imap(ImapClient(*self.server.address("imap"), timeout=TIMEOUT))
        wait_until(lambda: self.recorded(self.server.rawlog_directory), what="Dovecot's own recording")

    def test_a_directory_that_is_not_writable(self):
        os.chmod(self.directory, 0o500)
        before = self.server.log().count("rawlog_open: creat(")
        self.imap(ImapClient(*self.server.address("imap"), timeout=TIMEOUT))
        wait_until(lambda: self.server.log().count("rawlog_open: creat(") == before + 2, what="two lines in the log")
        self.assertRegex(self.server.log(), r"postlogin-imap: Error: Error: rawlog_open: creat\(\S+\.in\): Permission denied")


def open_and_read(path):
    with open(path, "rb") as file:
        return file.read()


@unittest.skipUnless(rawlog.why_no_original() is None, rawlog.why_no_original())
class PostLoginOriginal(PostLogin):
    """The same with Dovecot's own binary: these tests say nothing of ours that is not true of the original."""

    program = rawlog.ORIGINAL

    def test_a_directory_that_is_not_writable(self):
        self.skipTest("the original opens no second file after the first failed")


if __name__ == "__main__":
    unittest.main()
