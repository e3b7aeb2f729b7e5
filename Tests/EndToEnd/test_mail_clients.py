"""Logins of real clients at a real Dovecot, in the forms that each uses: no credential stays in any recording, of any
layout, and nothing else is missing."""

import base64
import contextlib
import hashlib
import hmac
import imaplib
import os
import poplib
import shutil
import smtplib
import socket
import subprocess
import tempfile
import unittest

import dovecot
from dovecot import Dovecot, SmtpSink
from redaction import Recorders

WHY_NOT = dovecot.why_unavailable()
TIMEOUT = 60
MECHANISMS = ("plain", "login", "cram-md5", "apop", "digest-md5", "scram-sha-1", "scram-sha-256", "external", "xoauth2",
              "oauthbearer")
ALICE = ("alice", "wonder-land")
# Everything that has a meaning in some syntax.
CAROL = ("carol", 'pass "wo\\rd\\" {5} * = ~x')
WRONG = "not-her-password"
TOKEN = "ya29.a0AfH6SMBx-the-token-9876"

MESSAGE = (b"From: alice@test.invalid\r\nSubject: logins\r\n\r\n"
           b"a LOGIN bob his-secret\r\nb AUTHENTICATE PLAIN AGJvYgBoaXM=\r\nUSER bob\r\nPASS his-secret\r\n"
           b"AUTH PLAIN AGJvYgBoaXM=\r\nAUTHENTICATE \"PLAIN\" \"AGJvYgBoaXM=\"\r\n..\r\n.\r\nSTARTTLS\r\n{10}\r\n"
           + b"x" * 3000 + b"\r\n")


def why_no(program):
    return None if shutil.which(program) else f"{program} is not installed (scripts/install-dependencies test)"


def named(user, mechanism):
    """Who is in the index: not whoever logs in with a mechanism whose names are not read."""
    return None if mechanism == "DIGEST-MD5" else user


def run(*command, **keywords):
    """Runs a client to its end: exit code and what it said."""
    done = subprocess.run([str(word) for word in command], stdin=keywords.pop("stdin", subprocess.DEVNULL),
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=TIMEOUT, **keywords)
    return done.returncode, done.stdout.decode("utf-8", "replace")


@unittest.skipIf(WHY_NOT, WHY_NOT)
class Clients(unittest.TestCase):
    protocols = ("imap",)
    # What the recorders are told, where Dovecot's name for it is another one.
    protocol = None
    sink = None

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.stack = contextlib.ExitStack()
        cls.addClassCleanup(cls.stack.close)
        relay_port = None
        if "submission" in cls.protocols:
            cls.sink = cls.stack.enter_context(SmtpSink())
            relay_port = cls.sink.port
        cls.server = cls.stack.enter_context(
            Dovecot(cls.protocols, relay_port=relay_port, mechanisms=MECHANISMS, users=dict([CAROL])))

    def recorders(self, *options):
        recorders = Recorders(self.server.address(self.protocols[0]), self.protocol or self.protocols[0], *options)
        return self.enterContext(recorders)

    def check(self, recorders, *secrets, user=ALICE[0], login="ok", failed=0, redacted=None, sessions=1):
        """What is in the index of the last connection; the credentials that were hidden in it."""
        ends, hidden = recorders.check(self, [*secrets, ALICE[1], CAROL[1], WRONG, TOKEN], sessions)
        end = ends[-1]
        self.assertEqual((end["user"], end["login"], end["failed_logins"]), (user, login, failed), end)
        if redacted is not None:
            self.assertEqual(len(hidden[-1]), redacted, hidden)
        return hidden[-1]


class IMAPLib(Clients):
    def client(self, recorders):
        client = imaplib.IMAP4(*recorders.address, timeout=TIMEOUT)
        self.addCleanup(client.sock.close)
        return client

    def end(self, client):
        """Some work with messages that look like logins."""
        client.select("INBOX")
        self.assertEqual(client.append("INBOX", None, None, MESSAGE)[0], "OK")
        self.assertEqual(client.fetch("1", "(BODY.PEEK[])")[0], "OK")
        client.logout()

    def test_login(self):
        for user, password in (ALICE, CAROL):
            with self.subTest(user):
                recorders = self.recorders()
                client = self.client(recorders)
                with self.assertRaises(imaplib.IMAP4.error):
                    client.login(user, WRONG)
                client.login(user, password)
                self.end(client)
                escaped = password.replace("\\", "\\\\").replace('"', '\\"').encode()
                hidden = self.check(recorders, user=user, failed=1)
                self.assertEqual(hidden, [WRONG.encode(), escaped])

    def test_authenticate(self):
        def plain(name, password, authorization=""):
            return lambda _: f"{authorization}\0{name}\0{password}".encode()

        for user, password in (ALICE, CAROL):
            with self.subTest(user):
                recorders = self.recorders()
                client = self.client(recorders)
                with self.assertRaises(imaplib.IMAP4.error):
                    client.authenticate("PLAIN", plain(user, WRONG))
                # Cancelled with a star.
                with self.assertRaises(imaplib.IMAP4.error):
                    client.authenticate("PLAIN", lambda _: None)
                client.authenticate("PLAIN", plain(user, password))
                self.end(client)
                hidden = self.check(recorders, user=user, failed=2)
                self.assertEqual(hidden[-1], base64.b64encode(f"\0{user}\0{password}".encode()))

    def test_login_mechanism(self):
        recorders = self.recorders()
        client = self.client(recorders)
        words = iter([ALICE[0].encode(), ALICE[1].encode()])
        client.authenticate("LOGIN", lambda _: next(words))
        self.end(client)
        self.assertEqual(self.check(recorders), [base64.b64encode(ALICE[1].encode())])

    def test_cram_md5(self):
        recorders = self.recorders()
        client = self.client(recorders)
        with self.assertRaises(imaplib.IMAP4.error):
            client.login_cram_md5(ALICE[0], WRONG)
        client.login_cram_md5(*ALICE)
        self.end(client)
        self.check(recorders, failed=1, redacted=2)

    def test_scram_sha_256(self):
        recorders = self.recorders()
        client = self.client(recorders)
        scram = Scram("sha256", *ALICE)
        client.authenticate("SCRAM-SHA-256", scram.answer)
        self.end(client)
        # The empty answer to the server's proof is no credential.
        self.assertGreaterEqual(len(self.check(recorders, scram.proof)), 2)

    def test_bearer_tokens(self):
        for mechanism, text in (("XOAUTH2", f"user=alice\1auth=Bearer {TOKEN}\1\1"),
                                ("OAUTHBEARER", f"n,a=alice,\1host=x\1auth=Bearer {TOKEN}\1\1")):
            with self.subTest(mechanism):
                recorders = self.recorders()
                client = self.client(recorders)
                with self.assertRaises(imaplib.IMAP4.error):
                    client.authenticate(mechanism, lambda _, text=text: text.encode())
                client.logout()
                self.check(recorders, login="fail", failed=1)


class Scram:
    """SCRAM (RFC 5802), the client's side of it."""

    def __init__(self, digest, user, password):
        self._digest, self._password = digest, password.encode()
        self._nonce = base64.b64encode(os.urandom(18)).decode()
        self._first = f"n={user},r={self._nonce}"
        self._step = 0
        self.proof = None

    def answer(self, challenge):
        self._step += 1
        if self._step == 1:
            return ("n,," + self._first).encode()
        if self._step == 2:
            return self._final(bytes(challenge).decode()).encode()
        return b""

    def _final(self, challenge):
        values = dict(part.split("=", 1) for part in challenge.split(","))
        salted = hashlib.pbkdf2_hmac(self._digest, self._password, base64.b64decode(values["s"]), int(values["i"]))
        key = hmac.digest(salted, b"Client Key", self._digest)
        without = f"c=biws,r={values['r']}"
        said = f"{self._first},{challenge},{without}".encode()
        signature = hmac.digest(hashlib.new(self._digest, key).digest(), said, self._digest)
        self.proof = base64.b64encode(bytes(one ^ other for one, other in zip(key, signature))).decode()
        return f"{without},p={self.proof}"


@unittest.skipIf(why_no("curl"), why_no("curl"))
class Curl(Clients):
    def curl(self, scheme, recorders, *options, user=ALICE, path="/"):
        who = ("-u", ":".join(user)) if user else ()
        return run("curl", "-sS", "--max-time", TIMEOUT, *who, *options, "%s://%s:%d%s" % (scheme, *recorders.address, path))

    def test_mechanisms(self):
        for mechanism in ("PLAIN", "LOGIN", "CRAM-MD5", "SCRAM-SHA-1", "SCRAM-SHA-256"):
            if mechanism.startswith("SCRAM") and "gsasl" not in run("curl", "--version")[1].lower():
                continue  # curl has it only with another library
            for more in ((), ("--sasl-ir",)):
                with self.subTest(mechanism, more=more):
                    options = ("--login-options", f"AUTH={mechanism}", *more)
                    recorders = self.recorders()
                    code, said = self.curl("imap", recorders, *options)
                    self.assertEqual(code, 0, said)
                    self.check(recorders)
                    recorders = self.recorders()
                    self.assertNotEqual(self.curl("imap", recorders, *options, user=(ALICE[0], WRONG))[0], 0)
                    self.check(recorders, login="fail", failed=1)

    def test_a_password_with_everything_in_it(self):
        recorders = self.recorders()
        code, said = self.curl("imap", recorders, "--login-options", "AUTH=PLAIN", user=CAROL)
        self.assertEqual(code, 0, said)
        self.check(recorders, user=CAROL[0])

    def test_an_exchange_that_is_cancelled(self):
        # curl does not like this server's challenge.
        recorders = self.recorders()
        code, said = self.curl("imap", recorders, "--login-options", "AUTH=DIGEST-MD5")
        self.assertIn("cancelled", said)
        self.assertNotEqual(code, 0)
        self.check(recorders, user=None, login="fail", failed=1, redacted=0)

    def test_bearer_tokens(self):
        for mechanism in ("XOAUTH2", "OAUTHBEARER"):
            for more in ((), ("--sasl-ir",)):
                with self.subTest(mechanism, more=more):
                    recorders = self.recorders()
                    code, _ = self.curl("imap", recorders, "--oauth2-bearer", TOKEN, "--login-options",
                                        f"AUTH={mechanism}", *more, user=(ALICE[0], ""))
                    self.assertNotEqual(code, 0)
                    hidden = self.check(recorders, login="fail", failed=1)
                    self.assertGreaterEqual(len(hidden), 1)


@unittest.skipIf(why_no("mbsync"), why_no("mbsync"))
class Mbsync(Clients):
    def test_mechanisms(self):
        for mechanism in ("LOGIN", "PLAIN", "CRAM-MD5", "DIGEST-MD5", "SCRAM-SHA-1", "SCRAM-SHA-256", "*"):
            for user, password in (ALICE, CAROL):
                with self.subTest(mechanism, user=user), tempfile.TemporaryDirectory() as home:
                    recorders = self.recorders()
                    code, said = self.sync(home, recorders, mechanism, user, password)
                    if "unsupported" in said.lower() or "no mechanism" in said.lower():
                        continue  # the SASL library has no such module
                    self.assertEqual(code, 0, said)
                    self.check(recorders, user=named(user, mechanism))

    def sync(self, home, recorders, mechanism, user, password):
        quoted = password.replace("\\", "\\\\").replace('"', '\\"')
        path = os.path.join(home, "mbsyncrc")
        os.mkdir(os.path.join(home, "mail"))
        with open(path, "w", encoding="ascii") as file:
            file.write(f"IMAPAccount a\nHost {recorders.address[0]}\nPort {recorders.address[1]}\nUser {user}\n"
                       f"Pass \"{quoted}\"\nSSLType None\nAuthMechs {mechanism}\n\n"
                       f"IMAPStore far\nAccount a\n\nMaildirStore near\nPath {home}/mail/\nInbox {home}/mail/INBOX\n\n"
                       "Channel c\nFar :far:\nNear :near:\nCreate Both\nExpunge Both\nSyncState *\n")
        return run("mbsync", "-c", path, "c", env={**os.environ, "HOME": home})


class POP3(Clients):
    protocols = ("pop3",)

    def client(self, recorders):
        client = poplib.POP3(*recorders.address, timeout=TIMEOUT)
        self.addCleanup(client.close)
        return client

    def end(self, client):
        client.stat()
        client.list()
        client.quit()

    def test_user_and_pass(self):
        for user, password in (ALICE, CAROL):
            with self.subTest(user):
                recorders = self.recorders()
                client = self.client(recorders)
                client.user(user)
                with self.assertRaises(poplib.error_proto):
                    client.pass_(WRONG)
                client.user(user)
                client.pass_(password)
                self.end(client)
                self.assertEqual(self.check(recorders, user=user, failed=1), [WRONG.encode(), password.encode()])

    def test_apop(self):
        recorders = self.recorders()
        client = self.client(recorders)
        client.apop(*ALICE)
        self.end(client)
        (digest,) = self.check(recorders)
        self.assertRegex(digest, rb"\A[0-9a-f]{32}\Z")

    @unittest.skipIf(why_no("curl"), why_no("curl"))
    def test_curl(self):
        for mechanism in ("+APOP", "PLAIN", "LOGIN", "CRAM-MD5"):
            for more in ((), ("--sasl-ir",)):
                with self.subTest(mechanism, more=more):
                    recorders = self.recorders()
                    code, said = run("curl", "-sS", "--max-time", TIMEOUT, "-u", ":".join(ALICE), "--login-options",
                                     f"AUTH={mechanism}", *more, "pop3://%s:%d/" % recorders.address)
                    self.assertEqual(code, 0, said)
                    self.check(recorders)


class Submission(Clients):
    protocols = ("submission",)
    protocol = "smtp"

    def client(self, recorders):
        client = smtplib.SMTP(*recorders.address, timeout=TIMEOUT)
        self.addCleanup(client.close)
        client.ehlo()
        return client

    def end(self, client):
        before = len(self.sink.messages)
        self.assertEqual(client.sendmail("alice@test.invalid", ["bob@test.invalid"], MESSAGE), {})
        client.quit()
        self.assertTrue(self.sink.messages[before].content.endswith(MESSAGE))

    def test_smtplib(self):
        for mechanism in ("cram_md5", "plain", "login"):
            for initial in (True, False):
                for user, password in (ALICE, CAROL):
                    with self.subTest(mechanism, initial=initial, user=user):
                        recorders = self.recorders()
                        client = self.client(recorders)
                        for client.user, client.password in ((user, WRONG), (user, password)):
                            authenticate = getattr(client, f"auth_{mechanism}")
                            name = mechanism.upper().replace("_", "-")
                            with contextlib.suppress(smtplib.SMTPAuthenticationError):
                                client.auth(name, authenticate, initial_response_ok=initial)
                        self.end(client)
                        self.check(recorders, user=user, failed=1, redacted=2)

    @unittest.skipIf(why_no("curl"), why_no("curl"))
    def test_curl(self):
        for mechanism in ("PLAIN", "LOGIN", "CRAM-MD5", "XOAUTH2", "OAUTHBEARER"):
            for more in ((), ("--sasl-ir",)):
                with self.subTest(mechanism, more=more), tempfile.NamedTemporaryFile() as message:
                    recorders = self.recorders()
                    message.write(MESSAGE)
                    message.flush()
                    is_token = mechanism.startswith(("XO", "OA"))
                    who = ("-u", "alice:", "--oauth2-bearer", TOKEN) if is_token else ("-u", ":".join(ALICE))
                    code, said = run("curl", "-sS", "--max-time", TIMEOUT, *who, "--login-options", f"AUTH={mechanism}",
                                     *more, "--mail-from", "alice@test.invalid", "--mail-rcpt", "bob@test.invalid",
                                     "-T", message.name, "smtp://%s:%d/client.test.invalid" % recorders.address)
                    self.assertEqual(code == 0, not is_token, said)
                    outcome = {"login": "fail", "failed": 1} if is_token else {}
                    self.check(recorders, **outcome)

    @unittest.skipIf(why_no("swaks"), why_no("swaks"))
    def test_swaks(self):
        for mechanism in ("PLAIN", "LOGIN", "CRAM-MD5", "DIGEST-MD5"):
            for user, password in (ALICE, CAROL):
                with self.subTest(mechanism, user=user):
                    recorders = self.recorders()
                    code, said = run("swaks", "--server", recorders.address[0], "--port", recorders.address[1], "--auth",
                                     mechanism, "--auth-user", user, "--auth-password", password, "--from",
                                     "alice@test.invalid", "--to", "bob@test.invalid", "--helo", "client.test.invalid",
                                     "--suppress-data", "--timeout", TIMEOUT)
                    self.assertEqual(code, 0, said)
                    self.check(recorders, user=named(user, mechanism))


@unittest.skipIf(not os.path.exists("/usr/lib/dovecot/managesieve-login"), "dovecot-managesieved is not installed")
class ManageSieve(Clients):
    protocols = ("sieve",)
    script = b'require "fileinto";\r\n# AUTHENTICATE "PLAIN" "AGJvYgBoaXM="\r\nkeep;\r\n'

    @unittest.skipIf(why_no("sieve-connect"), why_no("sieve-connect"))
    def test_sieve_connect(self):
        for mechanism in ("PLAIN", "LOGIN", "CRAM-MD5", "DIGEST-MD5"):
            with self.subTest(mechanism), tempfile.TemporaryDirectory() as home:
                recorders = self.recorders()
                with tempfile.TemporaryFile() as password:
                    password.write(ALICE[1].encode() + b"\n")
                    password.seek(0)
                    descriptor = password.fileno()
                    code, said = run("sieve-connect", "--server", recorders.address[0], "--port", recorders.address[1],
                                     "--user", ALICE[0], "--passwordfd", descriptor, "--authmech", mechanism,
                                     "--clearchan", "--notlsverify", "--list", pass_fds=(descriptor,),
                                     env={**os.environ, "HOME": home})
                self.assertEqual(code, 0, said)
                self.check(recorders, user=named(ALICE[0], mechanism))

    def converse(self, recorders, *said):
        """Sends one thing after the other, each when the server has answered the one before; all of its answers."""
        answers = []
        with socket.create_connection(recorders.address, timeout=TIMEOUT) as connection:
            reader = connection.makefile("rb")

            def answer():
                lines = []
                while True:
                    line = reader.readline()
                    lines.append(line)
                    # A status, or a challenge: a string of its own.
                    if not line or line.startswith((b"OK", b"NO", b"BYE")):
                        return b"".join(lines)
                    if line.startswith(b"{"):
                        lines.append(reader.read(int(line.strip(b"{}+\r\n"))) + reader.readline())
                        return b"".join(lines)
                    if line.startswith(b'"') and line.count(b'"') == 2 and len(lines) == 1 and answers:
                        return b"".join(lines)

            answers.append(answer())
            for part in said:
                connection.sendall(part)
                answers.append(answer())
        return answers

    def test_strings_and_literals(self):
        def plain(user, password):
            return base64.b64encode(f"\0{user}\0{password}".encode())

        right, wrong = plain(*ALICE), plain(ALICE[0], WRONG)
        put = b'PUTSCRIPT "x" {%d+}\r\n%s\r\n' % (len(self.script), self.script)
        logins = {
            "quoted": (b'AUTHENTICATE "PLAIN" "%s"\r\n' % right,),
            "literal": (b'AUTHENTICATE "PLAIN" {%d+}\r\n%s\r\n' % (len(right), right),),
            "mechanism as a literal": (b'authenticate {5+}\r\nPLAIN {%d+}\r\n%s\r\n' % (len(right), right),),
            "login": (b'AUTHENTICATE "LOGIN"\r\n', b'"%s"\r\n' % base64.b64encode(ALICE[0].encode()),
                      b'{%d+}\r\n%s\r\n' % (len(ALICE[1]) * 4 // 3 + 2 & ~3, base64.b64encode(ALICE[1].encode()))),
        }
        for name, login in logins.items():
            with self.subTest(name):
                recorders = self.recorders()
                answers = self.converse(recorders, b'AUTHENTICATE "PLAIN" "%s"\r\n' % wrong,
                                        b'AUTHENTICATE "LOGIN"\r\n', b'"*"\r\n', *login, put, b"LISTSCRIPTS\r\n",
                                        b"LOGOUT\r\n")
                self.assertTrue(answers[-4].startswith(b"OK") and answers[-3].startswith(b"OK"), answers)
                hidden = self.check(recorders, failed=2)
                self.assertEqual(hidden[0], wrong)
                self.assertEqual(hidden[-1], base64.b64encode(ALICE[1].encode()) if name == "login" else right)


if __name__ == "__main__":
    unittest.main()
