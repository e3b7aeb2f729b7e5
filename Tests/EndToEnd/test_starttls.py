"""STARTTLS in its five dialects: passed through, asked for by the relay, answered by the relay."""

import base64
import imaplib
import os
import poplib
import shutil
import smtplib
import ssl
import subprocess
import tempfile
import threading
import unittest

import dovecot
import tls
from dovecot import Dovecot, SmtpSink
from peers import Task, all_results
from relay import wait_until
from starttls import DIALECTS, ENCODED, IMAP, LMTP, PASSWORD, POP3, SIEVE, SMTP, MailServer
from tls import CERTIFICATES, Plain, Sealed, TLSTests

WHY_NOT = tls.why_unavailable()
NO_DOVECOT = WHY_NOT or dovecot.why_unavailable()
FRONTS = ("none", "implicit", "starttls")
BACKS = ("off", "implicit", "starttls")


@unittest.skipIf(WHY_NOT, WHY_NOT)
class StartTLSTests(TLSTests):
    def mail(self, dialect, front, back, *options, **server):
        """A server and a relay in front of it, whose legs have TLS in these ways."""
        server = self.serve(MailServer(dialect, implicit=back == "implicit", offers=back == "starttls", **server))
        arguments = ["--protocol", dialect.name, "--connect-tls", back, *options]
        if front != "none":
            arguments += [*CERTIFICATES.pair(), "--tls", front]
        if back != "off":
            arguments += ["--connect-ca", CERTIFICATES.path("authority")]
        return server, self.start(server, *arguments)

    def greeted(self, relay, dialect, front, **keywords):
        """A client that has been greeted, and the greeting."""
        client = self.peer(relay, front == "implicit", **keywords)
        return client, dialect.read_answer(client)

    def secure(self, client, dialect, lists=False, **keywords):
        """A client asks for TLS, which begins. `lists`: the server still lists it, for its own leg."""
        answer = dialect.ask(client, dialect.starttls)
        self.assertTrue(answer.startswith((b"s OK", b"+OK", b"220", b"OK")), answer)
        secured = Sealed(client.socket, CERTIFICATES.client_context(), **keywords).handshake()
        if dialect is SIEVE:
            self.assertEqual(b"STARTTLS" in dialect.read_answer(secured), lists)
        return secured

    def leave(self, client, dialect):
        dialect.ask(client, dialect.quit)
        client.close_notify()
        client.read_to_end()


class Combinations(StartTLSTests):
    def test_every_dialect_and_every_pair_of_legs(self):
        for dialect in DIALECTS:
            for front in FRONTS:
                for back in BACKS:
                    with self.subTest(dialect=dialect, front=front, back=back):
                        self._one_session(dialect, front, back)

    def _one_session(self, dialect, front, back):
        server, relay = self.mail(dialect, front, back)
        client, greeting = self.greeted(relay, dialect, front)
        if dialect is IMAP and back == "starttls" and front != "starttls":
            self.assertEqual(greeting, b"* OK hello\r\n")
        listed = dialect.ask(client, dialect.hello)
        self.assertEqual(listed.count(dialect.word), 1 if front == "starttls" else 0, listed)
        if front == "starttls":
            client = self.secure(client, dialect)
            self.assertNotIn(dialect.word, dialect.ask(client, dialect.hello))
        if dialect.login:
            self.assertTrue(dialect.ask(client, dialect.login).startswith((b"l OK", b"+OK", b"235", b"OK")))
        dialect.ask(client, dialect.noop)
        self.leave(client, dialect)
        end = self.end(relay)
        self.assertEqual((end["reason"], end["recording"]), (end["reason"], "complete"))
        self.assertIn(end["reason"], ("server-eof", "client-eof"))
        self.assertEqual((end["tls"] is not None, end["server_tls"] is not None), (front != "none", back != "off"))
        self.assertEqual((end["user"], end["login"], end["redacted"]),
                         ("joe", "ok", 1) if dialect.login else (None, "none", 0))
        self._check_bytes(dialect, front, back, server, relay, end)
        relay.close()

    def _check_bytes(self, dialect, front, back, server, relay, end):
        said, answered = relay.recording(end, "in"), relay.recording(end, "out")
        self.assertEqual(said.count(dialect.word), 1 if front == "starttls" else 0, said)
        for secret in (PASSWORD, ENCODED):
            self.assertNotIn(secret.encode(), said + answered)
        self.assertLess(said.find(dialect.word), said.find(dialect.noop.encode()))
        self.assertNotIn(b"\x16\x03", said + answered)
        # The server was told everything but STARTTLS under TLS, where its leg has any.
        late = [secured for line, secured in server.heard if line == dialect.noop.encode()]
        self.assertEqual(late, [back != "off"])
        self.assertEqual(any(dialect.word in line for line in server.commands), back == "starttls", server.heard)
        if dialect.login:
            self.assertIn((dialect.login.encode(), back != "off"), server.heard)

    def test_the_other_leg_recorded(self):
        for dialect in DIALECTS:
            with self.subTest(dialect=dialect, asks="relay"):
                _, relay = self.mail(dialect, "none", "starttls", "--leg", "back")
                client, _ = self.greeted(relay, dialect, "none")
                self.leave(client, dialect)
                end = self.end(relay)
                sent, answered = relay.recording(end, "out"), relay.recording(end, "in")
                self.assertEqual(sent.count(dialect.word), 1, sent)
                self.assertTrue(sent.endswith(dialect.quit.encode() + b"\r\n"), sent)
                self.assertIn(dialect.greeting(True), answered)
                self.assertIn(b"go", answered)
                relay.close()
            with self.subTest(dialect=dialect, answers="relay"):
                _, relay = self.mail(dialect, "starttls", "off", "--leg", "back")
                client, _ = self.greeted(relay, dialect, "starttls")
                dialect.ask(client, dialect.hello)
                client = self.secure(client, dialect)
                self.leave(client, dialect)
                end = self.end(relay)
                sent, answered = relay.recording(end, "out"), relay.recording(end, "in")
                self.assertNotIn(dialect.word, sent + answered)
                self.assertIn(dialect.capabilities(False), answered)
                self.assertTrue(sent.endswith(dialect.quit.encode() + b"\r\n"), sent)
                relay.close()

    def test_bytes_one_at_a_time(self):
        for dialect in DIALECTS:
            for front, back in (("starttls", "starttls"), ("starttls", "off"), ("none", "starttls")):
                with self.subTest(dialect=dialect, front=front, back=back):
                    _, relay = self.mail(dialect, front, back, piece=1)
                    client, _ = self.greeted(relay, dialect, front)
                    whole, client.write = client.write, lambda data: [
                        whole(data[place:place + 1]) for place in range(len(data))]
                    listed = dialect.ask(client, dialect.hello)
                    self.assertEqual(listed.count(dialect.word), 1 if front == "starttls" else 0, listed)
                    if front == "starttls":
                        client = self.secure(client, dialect, piece=1)
                    self.leave(client, dialect)
                    self.assertEqual(self.end(relay)["tls"] is not None, front == "starttls")
                    relay.close()

    def test_lists_that_have_it_already(self):
        for dialect in DIALECTS:
            with self.subTest(dialect=dialect):
                _, relay = self.mail(dialect, "starttls", "off", greeting=dialect.greeting(True),
                                     capabilities=dialect.capabilities(True))
                client, _ = self.greeted(relay, dialect, "starttls")
                listed = dialect.ask(client, dialect.hello)
                self.assertEqual(listed.count(dialect.word), 1, listed)
                relay.close()

    def test_a_single_line_for_ehlo_and_none_for_helo(self):
        _, relay = self.mail(SMTP, "starttls", "off", capabilities=b"250 me\r\n")
        client, _ = self.greeted(relay, SMTP, "starttls")
        self.assertEqual(SMTP.ask(client, "HELO me"), b"250 ok\r\n")
        self.assertEqual(SMTP.ask(client, SMTP.hello), b"250-me\r\n250 STARTTLS\r\n")

    def test_commands_in_front_of_it_are_answered_first(self):
        for dialect in DIALECTS:
            for back in BACKS:
                with self.subTest(dialect=dialect, back=back):
                    server, relay = self.mail(dialect, "starttls", back)
                    client, _ = self.greeted(relay, dialect, "starttls")
                    lines = [dialect.noop] * 2 + [dialect.starttls]
                    client.write("".join(line + "\r\n" for line in lines).encode())
                    for _ in lines:
                        answer = dialect.read_answer(client)
                    self.assertTrue(answer.startswith((b"s OK", b"+OK", b"220", b"OK")), answer)
                    client = Sealed(client.socket, CERTIFICATES.client_context()).handshake()
                    if dialect is SIEVE:
                        dialect.read_answer(client)
                    dialect.ask(client, dialect.noop)
                    self.assertEqual(server.commands.count(dialect.noop.encode()), 3)
                    relay.close()


class Recordings(StartTLSTests):
    def test_credentials_on_both_sides_of_it(self):
        for dialect in (IMAP, POP3, SMTP, SIEVE):
            for back in BACKS:
                with self.subTest(dialect=dialect, back=back):
                    _, relay = self.mail(dialect, "starttls", back, refuses_login=True)
                    client, _ = self.greeted(relay, dialect, "starttls")
                    dialect.ask(client, dialect.login)
                    client = self.secure(client, dialect)
                    dialect.ask(client, dialect.login)
                    self.leave(client, dialect)
                    end = self.end(relay)
                    said = relay.recording(end, "in")
                    self.assertEqual((end["redacted"], end["failed_logins"], end["login"]), (2, 2, "fail"))
                    self.assertEqual(said.count(b"<redacted>"), 2)
                    self.assertTrue(said.index(b"<redacted>") < said.index(dialect.word) < said.rindex(b"<redacted>"))
                    self.assertNotIn(PASSWORD.encode(), said)
                    self.assertNotIn(ENCODED.encode(), said)
                    relay.close()

    def test_both_directions_in_one_file(self):
        for dialect in DIALECTS:
            for back in BACKS:
                with self.subTest(dialect=dialect, back=back):
                    _, relay = self.mail(dialect, "starttls", back, "--layout", "merged")
                    client, _ = self.greeted(relay, dialect, "starttls")
                    client = self.secure(client, dialect)
                    dialect.ask(client, dialect.noop)
                    self.leave(client, dialect)
                    lines = relay.recording(self.end(relay), "rawlog").split(b"\n")
                    said = [line.split(b" ", 2)[1:] for line in lines if line]
                    asked = said.index([b"I:", dialect.starttls.encode() + b"\r"])
                    noop = said.index([b"I:", dialect.noop.encode() + b"\r"])
                    self.assertEqual(said[0][0], b"O:")
                    self.assertEqual(said[asked + 1][0], b"O:")
                    self.assertTrue(asked + 1 < noop < len(said) - 1, said)
                    relay.close()

    def test_up_to_the_login(self):
        for dialect in (IMAP, POP3, SMTP, SIEVE):
            for back in BACKS:
                with self.subTest(dialect=dialect, back=back):
                    _, relay = self.mail(dialect, "starttls", back, "--pre-login")
                    client, _ = self.greeted(relay, dialect, "starttls")
                    client = self.secure(client, dialect)
                    dialect.ask(client, dialect.login)
                    for _ in range(3):
                        dialect.ask(client, dialect.noop)
                    self.leave(client, dialect)
                    end = self.end(relay)
                    said = relay.recording(end, "in")
                    self.assertEqual((end["recording"], end["login"]), ("pre-login", "ok"))
                    self.assertIn(dialect.word, said)
                    self.assertIn(b"<redacted>", said)
                    self.assertNotIn(dialect.noop.encode(), said)
                    relay.close()

    def test_a_directory_for_the_user(self):
        for back in BACKS:
            with self.subTest(back=back), tempfile.TemporaryDirectory() as directory:
                os.mkdir(os.path.join(directory, "joe"))
                server = self.serve(MailServer(IMAP, implicit=back == "implicit", offers=back == "starttls"))
                trust = ("--connect-ca", CERTIFICATES.path("authority")) if back != "off" else ()
                relay = self.start(server, "--protocol", "imap", "--connect-tls", back, *CERTIFICATES.pair(), "--tls",
                                   "starttls", *trust, directory=directory, directory_option=directory + "/%{user}")
                client, greeting = self.greeted(relay, IMAP, "starttls")
                client = self.secure(client, IMAP)
                IMAP.ask(client, IMAP.login)
                self.leave(client, IMAP)
                end = self.end(relay)
                with open(os.path.join(directory, "joe", end["id"] + ".out"), "rb") as file:
                    self.assertTrue(file.read().startswith(greeting))


class Breaking(StartTLSTests):
    """Who goes away in the middle of it."""

    def test_a_client_that_goes_away_behind_the_answer(self):
        for dialect in DIALECTS:
            for back in BACKS:
                with self.subTest(dialect=dialect, back=back):
                    server, relay = self.mail(dialect, "starttls", back)
                    client, _ = self.greeted(relay, dialect, "starttls")
                    dialect.ask(client, dialect.starttls)
                    client.close()
                    end = self.end(relay)
                    self.assertIn(end["reason"], ("tls-error", "client-eof"))
                    self.assertIsNone(end["tls"])
                    wait_until(lambda: server.active == 0, what="the server's end")
                    relay.close()

    def test_a_client_that_goes_away_before_the_answer(self):
        for dialect in DIALECTS:
            with self.subTest(dialect=dialect):
                hold = threading.Event()
                server, relay = self.mail(dialect, "starttls", "starttls", hold=hold)
                client, _ = self.greeted(relay, dialect, "starttls")
                client.write(dialect.starttls.encode() + b"\r\n")
                wait_until(lambda: dialect.starttls.encode() in server.commands, what="the command")
                client.close()
                hold.set()
                self.assertIsNone(self.end(relay)["tls"])
                wait_until(lambda: server.active == 0, what="the server's end")
                relay.close()

    def test_a_server_that_goes_away_instead_of_an_answer(self):
        for dialect in DIALECTS:
            for front in FRONTS:
                with self.subTest(dialect=dialect, front=front):
                    _, relay = self.mail(dialect, front, "starttls", leaves=True)
                    client = self.peer(relay, front == "implicit")
                    if front == "starttls":
                        dialect.read_answer(client)
                        client.write(dialect.starttls.encode() + b"\r\n")
                    data, _ = client.read_to_end()
                    self.assertEqual(data, b"")
                    client.close()
                    self.assertEqual(self.end(relay)["reason"], "server-eof" if front == "starttls" else "tls-error")
                    relay.close()

    def test_many_at_once(self):
        for back in BACKS:
            _, relay = self.mail(IMAP, "starttls", back)

            def session(number):
                client, _ = self.greeted(relay, IMAP, "starttls")
                client = self.secure(client, IMAP)
                IMAP.ask(client, IMAP.login)
                self.leave(client, IMAP)
                return number

            all_results([Task(session, number) for number in range(60)])
            ends = relay.wait_ends(60)
            self.assertEqual({(end["login"], end["tls"] is not None, end["redacted"]) for end in ends},
                             {("ok", True, 1)})
            relay.close()


class Refusals(StartTLSTests):
    def test_a_refused_client_goes_on_and_may_ask_again(self):
        for dialect in DIALECTS:
            with self.subTest(dialect=dialect):
                server, relay = self.mail(dialect, "starttls", "starttls", refusals=1)
                client, _ = self.greeted(relay, dialect, "starttls")
                self.assertEqual(dialect.ask(client, dialect.starttls), dialect.refused.encode() + b"\r\n")
                self.assertTrue(dialect.ask(client, dialect.noop))
                client = self.secure(client, dialect)
                dialect.ask(client, dialect.noop)
                self.assertEqual([secured for line, secured in server.heard if line == dialect.noop.encode()],
                                 [False, True])
                relay.close()

    def test_a_refused_client_stays_in_the_clear(self):
        for dialect in DIALECTS:
            with self.subTest(dialect=dialect):
                _, relay = self.mail(dialect, "starttls", "starttls", refusals=9)
                client, _ = self.greeted(relay, dialect, "starttls")
                self.assertEqual(dialect.ask(client, dialect.starttls), dialect.refused.encode() + b"\r\n")
                dialect.ask(client, dialect.noop)
                self.leave(client, dialect)
                end = self.end(relay)
                self.assertIn(end["reason"], ("client-eof", "server-eof"))
                self.assertEqual((end["tls"], end["server_tls"], end["recording"]), (None, None, "complete"))
                relay.close()

    def _expect_nothing(self, dialect, front, server, relay):
        """The client gets a clean end and no byte, the server no byte of the client."""
        client = self.peer(relay, front == "implicit")
        try:
            client.write(dialect.noop.encode() + b"\r\n")
        except OSError:
            pass
        data, how = client.read_to_end()
        self.assertEqual(data, b"")
        end = self.end(relay)
        self.assertEqual((end["reason"], end["server_tls"]), ("tls-error", None))
        self.said(relay, "TLS with the server")
        self.assertNotIn(dialect.noop.encode(), server.commands)
        relay.close()
        return how

    def test_what_the_relay_asks_for_and_does_not_get_ends_the_session(self):
        for dialect in DIALECTS:
            for front in ("none", "implicit"):
                leaves = b"BYE\r\n" if dialect is SIEVE else b"554 no\r\n"
                for kind, server in (("refuses", {"refusals": 9}),
                                     ("does not offer", {"greeting": dialect.greeting(False), "refusals": 9,
                                                         "capabilities": dialect.capabilities(False)}),
                                     ("sends away", {"greeting": leaves})):
                    with self.subTest(dialect=dialect, front=front, kind=kind):
                        self._expect_nothing(dialect, front, *self.mail(dialect, front, "starttls", **server))

    def test_servers_that_begin_in_another_way(self):
        for dialect, greeting in ((IMAP, b"* PREAUTH hello\r\n"), (IMAP, b"* BYE\r\n"), (POP3, b"-ERR\r\n"),
                                  (SIEVE, b"BYE\r\n"), (SMTP, b"x" * 20_000)):
            with self.subTest(greeting[:20]):
                self._expect_nothing(dialect, "none", *self.mail(dialect, "none", "starttls", greeting=greeting))

    def test_a_server_that_says_nothing(self):
        server = self.listener()
        relay = self.start(server, "--protocol", "smtp", *self.back()[2:], "--connect-tls", "starttls",
                           "--handshake-timeout", "200ms")
        client = Plain(self.client(relay))
        held = server.accept()
        self.assertEqual(client.read_to_end(), (b"", "clean"))
        held.close()
        self.assertEqual(self.end(relay)["reason"], "tls-error")

    def test_a_server_that_nobody_vouches_for(self):
        for dialect in DIALECTS:
            for front in FRONTS:
                with self.subTest(dialect=dialect, front=front):
                    server, relay = self.mail(dialect, front, "starttls", "--connect-name", "other.test.invalid")
                    if front != "starttls":
                        self._expect_nothing(dialect, front, server, relay)
                        continue
                    client, _ = self.greeted(relay, dialect, front)
                    dialect.ask(client, dialect.starttls)
                    # Nothing of the client's goes to somebody else than whom it should.
                    try:
                        client = Sealed(client.socket, CERTIFICATES.client_context()).handshake()
                        client.write(dialect.noop.encode() + b"\r\n")
                        client.read_to_end()
                    except (ssl.SSLError, OSError):
                        pass
                    self.assertEqual(self.end(relay)["reason"], "tls-error")
                    self.said(relay, "expected 'other.test.invalid', is not trusted")
                    self.assertNotIn(dialect.noop.encode(), server.commands)
                    relay.close()


class Injection(StartTLSTests):
    def check(self, relay, server, client, dialect, leg="client"):
        data, _ = Plain(client.socket).read_to_end()
        end = self.end(relay)
        self.assertEqual((end["reason"], end["tls"]), ("tls-error", None))
        self.said(relay, f"TLS with the {leg} ")
        self.assertNotIn(b"INJECTED", data)
        self.assertFalse([line for line in server.commands if b"INJECTED" in line])
        for direction in ("in", "out"):
            self.assertNotIn(b"INJECTED", relay.recording(end, direction))
        relay.close()
        return data

    def test_by_the_client_in_the_same_segment(self):
        for dialect in DIALECTS:
            for back in BACKS:
                for injected in (b"INJECTED\r\n", b"I", b"\x16\x03\x01INJECTED"):
                    with self.subTest(dialect=dialect, back=back, injected=injected):
                        server, relay = self.mail(dialect, "starttls", back)
                        client, _ = self.greeted(relay, dialect, "starttls")
                        client.write(dialect.starttls.encode() + b"\r\n" + injected)
                        self.check(relay, server, client, dialect)

    def test_by_the_client_before_the_answer(self):
        for dialect in DIALECTS:
            for back in BACKS:
                with self.subTest(dialect=dialect, back=back):
                    hold = threading.Event()
                    server, relay = self.mail(dialect, "starttls", back, hold=hold)
                    client, _ = self.greeted(relay, dialect, "starttls")
                    if back != "starttls":
                        # The relay's own answer waits for that to an older command.
                        client.write(dialect.noop.encode() + b"\r\n")
                    client.write(dialect.starttls.encode() + b"\r\n")
                    held = dialect.starttls.encode() if back == "starttls" else dialect.noop.encode()
                    wait_until(lambda: held in server.commands, what="the command")
                    client.write(b"INJECTED\r\n")
                    relay.wait_ends(1)
                    hold.set()
                    data = self.check(relay, server, client, dialect)
                    self.assertEqual(data, b"")

    def test_by_the_client_behind_the_answer(self):
        for dialect in DIALECTS:
            for back in BACKS:
                with self.subTest(dialect=dialect, back=back):
                    server, relay = self.mail(dialect, "starttls", back)
                    client, _ = self.greeted(relay, dialect, "starttls")
                    dialect.ask(client, dialect.starttls)
                    client.write(b"INJECTED\r\n")
                    self.check(relay, server, client, dialect)

    def test_by_the_server_behind_its_agreement(self):
        for dialect in DIALECTS:
            for front in FRONTS:
                for injected in ({"behind": b"* INJECTED\r\n"}, {"behind": b"I"}, {"later": b"* INJECTED\r\n"}):
                    with self.subTest(dialect=dialect, front=front, injected=injected):
                        self._injecting_server(dialect, front, injected)

    def _injecting_server(self, dialect, front, injected):
        server, relay = self.mail(dialect, front, "starttls", **injected)
        if front == "starttls":
            client, _ = self.greeted(relay, dialect, front)
            client.write(dialect.starttls.encode() + b"\r\n")
            self.check(relay, server, client, dialect, "server")
            return
        client = self.peer(relay, front == "implicit")
        self.assertEqual(client.read_to_end(), (b"", "clean"))
        end = self.end(relay)
        self.assertEqual((end["reason"], end["server_tls"]), ("tls-error", None))
        self.said(relay, "TLS with the server ")
        self.assertNotIn(b"INJECTED", relay.recording(end, "out"))
        relay.close()

    def test_by_a_server_behind_its_greeting(self):
        for dialect in (IMAP, POP3, SMTP, SIEVE):
            with self.subTest(dialect=dialect):
                answers = dialect.greeting(True) + dialect.accepted.encode() + b"\r\n"
                _, relay = self.mail(dialect, "none", "starttls", greeting=answers)
                self.assertEqual(self.peer(relay, False).read_to_end(), (b"", "clean"))
                self.assertEqual(self.end(relay)["reason"], "tls-error")


class NoCommands(StartTLSTests):
    """The word where it is none."""

    def test_in_a_message(self):
        for dialect in (SMTP, LMTP):
            for back in BACKS:
                with self.subTest(dialect=dialect, back=back):
                    server, relay = self.mail(dialect, "starttls", back)
                    client, _ = self.greeted(relay, dialect, "starttls")
                    dialect.ask(client, dialect.hello)
                    dialect.ask(client, "MAIL FROM:<a@b>")
                    dialect.ask(client, "RCPT TO:<a@b>")
                    self.assertEqual(dialect.ask(client, "DATA"), b"354 go\r\n")
                    client.write(b"STARTTLS\r\nNOOP\r\n.\r\n")
                    self.assertEqual(dialect.read_answer(client), b"250 ok\r\n")
                    self.assertEqual(server.commands[-2:], [b"STARTTLS", b"NOOP"])
                    self.leave(self.secure(client, dialect), dialect)
                    relay.close()

    def test_in_a_literal(self):
        for back in BACKS:
            with self.subTest(back=back):
                server, relay = self.mail(IMAP, "starttls", back)
                client, _ = self.greeted(relay, IMAP, "starttls")
                client.write(b"l LOGIN {14}\r\n")
                self.assertEqual(client.read_line(), b"+ go\r\n")
                client.write(b"joe\r\nx STARTTLS\r\n"[:14] + b" pw\r\n")
                wait_until(lambda: len(server.heard) >= 3, what="the rest of the command")
                self.assertEqual(server.commands[1], b"joe\r\nx STARTTL")
                relay.close()
            with self.subTest(back=back, whole=True):
                server, relay = self.mail(IMAP, "starttls", back)
                client, _ = self.greeted(relay, IMAP, "starttls")
                client.write(b"l LOGIN {12}\r\n")
                self.assertEqual(client.read_line(), b"+ go\r\n")
                client.write(b"x STARTTLS\r\n")
                wait_until(lambda: b"x STARTTLS\r\n" in server.commands, what="the literal")
                relay.close()

    def test_in_a_response(self):
        for dialect in (POP3, SMTP):
            for back in BACKS:
                with self.subTest(dialect=dialect, back=back):
                    server, relay = self.mail(dialect, "starttls", back)
                    client, _ = self.greeted(relay, dialect, "starttls")
                    dialect.ask(client, dialect.hello)
                    dialect.ask(client, "AUTH PLAIN")
                    answer = dialect.ask(client, dialect.word.decode())
                    self.assertIn(answer, (b"-ERR no\r\n", b"535 no\r\n"))
                    self.assertEqual(server.commands[-1], dialect.word)
                    self.leave(self.secure(client, dialect), dialect)
                    relay.close()

    def test_after_a_login_it_is_the_servers_business(self):
        for dialect in (IMAP, POP3, SIEVE):
            for back in ("off", "implicit"):
                with self.subTest(dialect=dialect, back=back):
                    server, relay = self.mail(dialect, "starttls", back)
                    client, _ = self.greeted(relay, dialect, "starttls")
                    dialect.ask(client, dialect.login)
                    dialect.ask(client, dialect.starttls)
                    self.assertIn(dialect.starttls.encode(), server.commands)
                    relay.close()


class Warnings(StartTLSTests):
    def test_what_cannot_work_is_said_once(self):
        for mechanism, words in (("AUTH=SCRAM-SHA-256-PLUS", "channel binding"), ("AUTH=EXTERNAL", "EXTERNAL")):
            with self.subTest(mechanism):
                _, relay = self.mail(IMAP, "starttls", "starttls", greeting=b"* OK [CAPABILITY IMAP4rev1 STARTTLS "
                                     + mechanism.encode() + b"] hello\r\n")
                for _ in range(3):
                    client, _ = self.greeted(relay, IMAP, "starttls")
                    self.leave(self.secure(client, IMAP), IMAP)
                relay.wait_ends(3)
                self.said(relay, words)
                self.assertEqual(len([line for line in relay.lines if words in line]), 1, relay.stderr)
                relay.close()

    def test_nothing_is_said_where_tls_is_not_terminated(self):
        _, relay = self.mail(IMAP, "none", "off", greeting=b"* OK [CAPABILITY IMAP4rev1 AUTH=EXTERNAL] hello\r\n")
        client, _ = self.greeted(relay, IMAP, "none")
        self.leave(client, IMAP)
        self.end(relay)
        self.assertNotIn("EXTERNAL", relay.stderr)


@unittest.skipIf(NO_DOVECOT, NO_DOVECOT)
class WithDovecot(StartTLSTests):
    """Clients that people use, before a server that people use."""

    protocols = ("imap", "pop3", "submission", "lmtp") + (("sieve",) if dovecot.has_sieve() else ())

    @classmethod
    def setUpClass(cls):
        cls.sink = SmtpSink()
        cls.addClassCleanup(cls.sink.close)
        cls.dovecot = Dovecot(cls.protocols, relay_port=cls.sink.port, tls=True)
        cls.addClassCleanup(cls.dovecot.close)
        cls.dovecot.start()

    def each(self, protocol, service, session):
        """`session(relay, back)` for each way to the server where the client asks for TLS."""
        for back in BACKS:
            if back == "implicit" and service == "lmtp":
                continue
            port = (self.dovecot.tls_ports if back == "implicit" else self.dovecot.ports)[service]
            trust = ("--connect-ca", self.dovecot.certificate) if back != "off" else ()
            relay = self.start(f"127.0.0.1:{port}", "--protocol", protocol, *CERTIFICATES.pair(), "--tls", "starttls",
                               "--connect-tls", back, *trust)
            with self.subTest(protocol=protocol, back=back):
                session(relay, back)
            relay.close()

    def context(self):
        return CERTIFICATES.client_context()

    def check(self, relay, back, user="alice"):
        end = self.end(relay)
        self.assertEqual((end["tls"] is not None, end["server_tls"] is not None), (True, back != "off"))
        self.assertEqual((end["user"], end["login"]), (user, "ok" if user else "none"))
        said = relay.recording(end, "in")
        self.assertNotIn(self.dovecot.password.encode(), said)
        return end

    def test_imaplib(self):
        def session(relay, back):
            client = imaplib.IMAP4("localhost", relay.port)
            self.assertIn("STARTTLS", client.capabilities)
            client.starttls(self.context())
            if back == "starttls":
                self.assertNotIn("STARTTLS", client.capabilities)
            client.login(self.dovecot.user, self.dovecot.password)
            client.select("INBOX")
            client.logout()
            end = self.check(relay, back)
            self.assertIn(b"SELECT INBOX", relay.recording(end, "in"))

        self.each("imap", "imap", session)

    def test_poplib(self):
        def session(relay, back):
            client = poplib.POP3("localhost", relay.port)
            self.assertIn("STLS", client.capa())
            client.stls(self.context())
            client.user(self.dovecot.user)
            client.pass_(self.dovecot.password)
            client.quit()
            self.check(relay, back)

        self.each("pop3", "pop3", session)

    def test_smtplib(self):
        def session(relay, back):
            with smtplib.SMTP("localhost", relay.port) as client:
                client.ehlo("me.test.invalid")
                self.assertTrue(client.has_extn("starttls"))
                client.starttls(context=self.context())
                client.ehlo("me.test.invalid")
                if back != "off":
                    self.assertFalse(client.has_extn("starttls"))
                client.login(self.dovecot.user, self.dovecot.password)
                before = len(self.sink.messages)
                client.sendmail("alice@test.invalid", ["bob@test.invalid"], "Subject: x\r\n\r\nSTARTTLS\r\n")
                self.assertEqual(len(self.sink.messages), before + 1)
            self.check(relay, back)

        self.each("smtp", "submission", session)

    def test_lmtp(self):
        def session(relay, back):
            client, _ = self.greeted(relay, LMTP, "starttls")
            self.assertIn(b"STARTTLS", LMTP.ask(client, LMTP.hello))
            client = self.secure(client, LMTP)
            LMTP.ask(client, LMTP.hello)
            LMTP.ask(client, "MAIL FROM:<bob@test.invalid>")
            self.assertTrue(LMTP.ask(client, "RCPT TO:<alice>").startswith(b"250"))
            LMTP.ask(client, "DATA")
            client.write(b"Subject: x\r\n\r\nhello\r\n.\r\n")
            self.assertTrue(LMTP.read_answer(client).startswith(b"250"))
            self.leave(client, LMTP)
            self.check(relay, back, None)

        self.each("lmtp", "lmtp", session)

    @unittest.skipUnless(dovecot.has_sieve(), "Dovecot lacks dovecot-managesieved")
    def test_managesieve(self):
        response = base64.b64encode(f"\0{self.dovecot.user}\0{self.dovecot.password}".encode()).decode()
        def session(relay, back):
            client, greeting = self.greeted(relay, SIEVE, "starttls")
            self.assertIn(b'"STARTTLS"', greeting)
            client = self.secure(client, SIEVE, lists=back == "off")
            self.assertTrue(SIEVE.ask(client, f'AUTHENTICATE "PLAIN" "{response}"').startswith(b"OK"))
            self.assertTrue(SIEVE.ask(client, "LISTSCRIPTS").startswith(b"OK"))
            self.leave(client, SIEVE)
            self.check(relay, back)

        self.each("sieve", "sieve", session)

    def test_openssl(self):
        for protocol, service in (("imap", "imap"), ("pop3", "pop3"), ("smtp", "submission"), ("lmtp", "lmtp"),
                                  ("sieve", "sieve")):
            if service not in self.protocols:
                continue
            def session(relay, back):
                done = subprocess.run(
                    ["openssl", "s_client", "-starttls", protocol, "-connect", f"127.0.0.1:{relay.port}", "-CAfile",
                     CERTIFICATES.path("authority"), "-verify_return_error", "-brief"],
                    stdin=subprocess.DEVNULL, capture_output=True, timeout=30, check=False)
                self.assertEqual(done.returncode, 0, done.stderr)
                self.assertIn(b"Verification: OK", done.stderr)
                self.check_openssl(relay, back)

            self.each(protocol, service, session)

    def check_openssl(self, relay, back):
        end = self.end(relay)
        self.assertEqual((end["tls"] is not None, end["server_tls"] is not None), (True, back != "off"))

    @unittest.skipUnless(shutil.which("curl"), "needs curl")
    def test_curl(self):
        for protocol in ("imap", "pop3"):
            def session(relay, back):
                done = subprocess.run(
                    ["curl", "-sS", "--ssl-reqd", "--cacert", CERTIFICATES.path("authority"), "-u",
                     f"{self.dovecot.user}:{self.dovecot.password}", f"{protocol}://localhost:{relay.port}/"],
                    capture_output=True, timeout=30, check=False)
                self.assertEqual(done.returncode, 0, done.stderr)
                self.check(relay, back)

            self.each(protocol, protocol, session)

    @unittest.skipUnless(shutil.which("swaks"), "needs swaks")
    def test_swaks(self):
        def session(relay, back):
            before = len(self.sink.messages)
            done = subprocess.run(
                ["swaks", "--server", "localhost", "--port", str(relay.port), "--tls", "--tls-ca-path",
                 CERTIFICATES.path("authority"), "--tls-verify", "--auth", "PLAIN", "--auth-user", self.dovecot.user,
                 "--auth-password", self.dovecot.password, "--from", "alice@test.invalid", "--to", "bob@test.invalid"],
                stdin=subprocess.DEVNULL, capture_output=True, timeout=30, check=False)
            self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
            self.assertEqual(len(self.sink.messages), before + 1)
            self.check(relay, back)

        self.each("smtp", "submission", session)

    def test_implicit_tls_before_it(self):
        relay = self.start("127.0.0.1:%d" % self.dovecot.ports["imap"], "--protocol", "imap", *CERTIFICATES.pair(),
                           "--connect-tls", "starttls", "--connect-ca", self.dovecot.certificate)
        client = imaplib.IMAP4_SSL("localhost", relay.port, ssl_context=self.context())
        client.login(self.dovecot.user, self.dovecot.password)
        client.logout()
        self.check(relay, "starttls")


if __name__ == "__main__":
    unittest.main()
