"""TLS on either leg: with clients and servers of others, and with every byte in the test's hands."""

import os
import pwd
import shlex
import shutil
import signal
import smtplib
import socket
import ssl
import struct
import subprocess
import tempfile
import unittest

import tls
from peers import Task, all_results, connect, digest, payload, receive_until_end, reset, wait_stalled
from relay import ROOT, run, wait_until
from tls import CERTIFICATES, Plain, Sealed, TLSTests, openssl

WHY_NOT = tls.why_unavailable()
LEGS = [(True, False), (False, True), (True, True)]
BULK = 32 << 20


def record_sizes(ciphertext):
    """The length of each TLS record in a stream."""
    sizes, place = [], 0
    while place + 5 <= len(ciphertext):
        size = struct.unpack(">H", ciphertext[place + 3:place + 5])[0]
        sizes.append(size)
        place += 5 + size
    return sizes


@unittest.skipIf(WHY_NOT, WHY_NOT)
class Sessions(TLSTests):
    def test_every_leg_version_and_key(self):
        data = payload(1, 100_000)
        for front, back in LEGS:
            for version in ("1.2", "1.3"):
                for certificate in ("ecdsa", "rsa", "chain"):
                    with self.subTest(front=front, back=back, version=version, certificate=certificate):
                        self._one_session(front, back, version, certificate, data)

    def _one_session(self, front, back, version, certificate, data):
        server = self.server(tls=back, certificate=certificate, version=version)
        relay = self.start(server, *(CERTIFICATES.pair(certificate) if front else ()), *(self.back() if back else ()))
        client = self.peer(relay, front, version)
        sender = Task(client.write, data) if not front else None
        received = client.duplex(data, len(data)) if front else client.read_exactly(len(data))
        if sender:
            sender.result()
        client.close_notify()
        self.assertEqual(client.read_to_end(), (b"", "clean"))
        end = self.end(relay)
        self.assertEqual(digest(received), digest(data))
        self.assertEqual((digest(relay.recording(end, "in")), digest(relay.recording(end, "out"))),
                         (digest(data), digest(data)))
        self.assertEqual((end["reason"], end["client_close"], end["server_close"], end["recording"]),
                         ("client-eof", "clean", "clean", "complete"))
        for leg, has in (("tls", front), ("server_tls", back)):
            self.assertEqual(end[leg] and end[leg]["version"], "TLSv" + version if has else None, leg)
        # The name that was asked for; RFC 6066 has none for an address, which is what the relay connects to.
        self.assertEqual(front and end["tls"]["sni"], front and "localhost")
        relay.close()

    def test_whoever_connects_may_ask_for_no_name(self):
        relay = self.between(True, False)
        context = CERTIFICATES.client_context()
        context.check_hostname = False
        client = Sealed(self.client(relay), context, name=None).handshake()
        client.close_notify()
        client.read_to_end()
        self.assertIsNone(self.end(relay)["tls"]["sni"])

    def test_the_server_is_asked_for_the_name_that_is_expected(self):
        asked = []
        context = CERTIFICATES.server_context()
        context.sni_callback = lambda sock, name, _: asked.append(name)
        server = self.serve(tls.TLSServer(tls.echo, context))
        relay = self.start(server, *self.back("--connect-name", "localhost"))
        client = self.peer(relay, False)
        client.write(b"x")
        client.read_exactly(1)
        client.close_notify()
        self.assertEqual(self.end(relay)["server_tls"]["sni"], "localhost")
        self.assertEqual(asked, ["localhost"])

    def test_the_oldest_version_is_kept_to(self):
        relay = self.between(True, False, "--tls-min-version", "1.3")
        with self.assertRaises(ssl.SSLError):
            self.peer(relay, version="1.2")
        self.assertEqual(self.end(relay)["reason"], "tls-error")
        self.said(relay, "failed")
        self.peer(relay, version="1.3").close()
        server = self.server(version="1.2")
        relay = self.start(server, *self.back("--tls-min-version", "1.3"))
        self.assertEqual(Plain(self.client(relay)).read_to_end(), (b"", "clean"))
        self.assertEqual(self.end(relay)["reason"], "tls-error")

    def test_a_session_is_resumed(self):
        for version in ("1.2", "1.3"):
            with self.subTest(version):
                relay = self.between(True, False)
                context = CERTIFICATES.client_context(version)
                session = None
                for reused in (False, True):
                    client = self.peer(relay, context=context, session=session)
                    client.write(b"x")
                    client.read_exactly(1)  # by now the tickets of TLS 1.3 are here
                    self.assertEqual(client.object.session_reused, reused)
                    session = client.object.session
                    client.close_notify()
                    client.read_to_end()

    def test_both_kinds_of_key_at_once(self):
        relay = self.start(self.server(tls=False), *CERTIFICATES.pair("ecdsa"), *CERTIFICATES.pair("rsa"))
        for cipher in ("ECDHE-ECDSA-AES128-GCM-SHA256", "ECDHE-RSA-AES128-GCM-SHA256"):
            context = CERTIFICATES.client_context("1.2")
            context.set_ciphers(cipher)
            client = self.peer(relay, context=context)
            self.assertEqual(client.object.cipher()[0], cipher)
            client.close()

    def test_an_encrypted_key_and_its_password(self):
        key, password = CERTIFICATES.encrypted_key()
        relay = self.start(self.server(tls=False), "--tls-cert", CERTIFICATES.path("ecdsa"), "--tls-key", key,
                           "--tls-key-password-file", password)
        client = self.peer(relay)
        client.write(b"x")
        self.assertEqual(client.read_exactly(1), b"x")

    def test_two_hundred_sessions_at_once(self):
        data = payload(2, 20_000)
        relay = self.between(True, True)

        def session(number):
            client = self.peer(relay, version=("1.2", "1.3")[number % 2])
            received = client.duplex(data, len(data))
            client.close_notify()
            return received == data, client.read_to_end()

        results = all_results([Task(session, number) for number in range(200)])
        self.assertEqual(set(results), {(True, (b"", "clean"))})
        ends = relay.wait_ends(200)
        self.assertEqual({(end["reason"], end["in_recorded"], end["out_recorded"]) for end in ends},
                         {("client-eof", len(data), len(data))})

    def test_recordings_of_either_layout_are_those_of_plaintext(self):
        lines = [b"first\r\n", b"second line\n", b"no end"]

        def talk(peer):
            for line in lines:
                peer.write(line)
                if peer.read_exactly(len(line)) != line:
                    raise AssertionError("not echoed")
            peer.close_notify()
            peer.read_to_end()

        for options, name in (((), "in"), (("-b",), "in"), (("--layout", "merged"), "rawlog"),
                              (("--leg", "back"), "out")):
            with self.subTest(options):
                recorded = []
                for secured in (False, True):
                    relay = self.between(secured, secured, *options)
                    talk(self.peer(relay, secured))
                    recording = relay.recording(self.end(relay), name)
                    recorded.append([line.partition(b" ")[2] if name == "rawlog" else line
                                     for line in recording.split(b"\n")])
                    relay.close()
                self.assertEqual(recorded[0], recorded[1])
                self.assertIn(b"second line", b"\n".join(recorded[0]))


@unittest.skipIf(WHY_NOT, WHY_NOT)
class Bytes(TLSTests):
    def test_thirty_two_mebibytes_each_way(self):
        upward, downward = payload(3, BULK), payload(4, BULK)
        taken = []

        def script(peer):
            taken.append(digest(peer.duplex(downward, BULK)))
            peer.read_to_end()
            peer.close_notify()

        relay = self.between(True, True, script=script)
        client = self.peer(relay)
        self.assertEqual(digest(client.duplex(upward, BULK)), digest(downward))
        client.close_notify()
        self.assertEqual(client.read_to_end(), (b"", "clean"))
        end = self.end(relay)
        self.assertEqual(taken, [digest(upward)])
        self.assertEqual((end["in_recorded"], end["out_recorded"], end["dropped"]), (BULK, BULK, 0))
        self.assertEqual(digest(relay.recording(end, "in")), digest(upward))
        self.assertEqual(digest(relay.recording(end, "out")), digest(downward))

    def test_one_byte_at_a_time(self):
        for version in ("1.2", "1.3"):
            relay = self.between(True, True)
            client = self.peer(relay, version=version, piece=1)
            client.write(b"hello\r\n")
            self.assertEqual(client.read_exactly(7), b"hello\r\n")
            client.close_notify()
            self.assertEqual(client.read_to_end(), (b"", "clean"))
            self.assertEqual(self.end(relay)["client_close"], "clean")

    def test_a_server_that_sends_one_byte_at_a_time(self):
        context = CERTIFICATES.server_context()

        def script(connection):
            peer = Sealed(connection, context, server_side=True, piece=1).handshake()
            tls.echo(peer)

        relay = self.start(self.serve(tls.ScriptedServer(script)), *self.back())
        client = self.peer(relay, False)
        client.write(b"hello")
        client.close_notify()
        self.assertEqual(client.read_to_end(), (b"hello", "clean"))
        self.assertEqual(self.end(relay)["server_close"], "clean")

    def test_records_of_one_byte_and_of_the_most(self):
        data = payload(5, 16384)
        relay = self.between(True, True)
        client = self.peer(relay, version="1.3")
        for place in range(2000):
            client.object.write(data[place:place + 1])
        sizes = record_sizes(ciphertext := client.take_flight())
        self.assertEqual(set(sizes), {1 + 1 + 16})  # the byte, its type, the tag
        client.socket.sendall(ciphertext)
        self.assertEqual(client.read_exactly(2000), data[:2000])
        client.object.write(data)
        self.assertEqual(record_sizes(ciphertext := client.take_flight()), [16384 + 1 + 16])
        client.socket.sendall(ciphertext)
        self.assertEqual(client.read_exactly(16384), data)

    def test_what_comes_with_the_end_of_the_handshake_is_not_lost(self):
        relay = self.between(True, False)
        client = Sealed(self.client(relay), CERTIFICATES.client_context("1.3"))
        while True:
            try:
                client.object.do_handshake()
                break
            except ssl.SSLWantReadError:
                client.flush()
                client.feed(client.socket.recv(65536))
        client.object.write(b"with the Finished")
        client.close_notify()
        self.assertEqual(client.read_to_end(), (b"with the Finished", "clean"))


@unittest.skipIf(WHY_NOT, WHY_NOT)
class Closing(TLSTests):
    def test_either_side_may_end_its_half_first(self):
        def server_first(peer):
            peer.write(b"bye")
            peer.close_notify()
            rest.append(peer.read_to_end())

        for front, back in LEGS:
            with self.subTest(front=front, back=back):
                rest = []
                relay = self.between(front, back, script=server_first)
                client = self.peer(relay, front)
                self.assertEqual(client.read_to_end(), (b"bye", "clean"))
                client.write(b"still here")
                client.close_notify()
                end = self.end(relay)
                wait_until(lambda: rest, what="the server's end")
                self.assertEqual(rest, [(b"still here", "clean")])
                self.assertEqual((end["reason"], end["server_close"], end["client_close"]),
                                 ("server-eof", "clean", "clean"))
                relay.close()

    def test_the_client_ends_first_and_the_answer_still_comes(self):
        def answer(peer):
            data = peer.read_to_end()
            peer.write(b"got " + data[0])
            peer.close_notify()

        for front, back in LEGS:
            with self.subTest(front=front, back=back):
                relay = self.between(front, back, script=answer)
                client = self.peer(relay, front)
                client.write(b"all")
                client.close_notify()
                self.assertEqual(client.read_to_end(), (b"got all", "clean"))
                relay.close()

    def test_a_cut_is_passed_on_as_one(self):
        for front, back in LEGS:
            for who in ("client", "server"):
                with self.subTest(front=front, back=back, who=who):
                    self._cut(front, back, who)

    def _cut(self, front, back, who):
        seen = []

        def script(peer):
            peer.read_exactly(5)
            peer.write(b"world")
            if who == "server":
                peer.socket.shutdown(socket.SHUT_WR)
            seen.append(peer.read_to_end())

        relay = self.between(front, back, script=script)
        client = self.peer(relay, front)
        client.write(b"hello")
        client.read_exactly(5)
        if who == "client":
            client.socket.shutdown(socket.SHUT_WR)
        else:
            # A cut where the server has TLS is one for a client with TLS, and no more than an end for any other.
            self.assertEqual(client.read_to_end(), (b"", "cut" if front and back else "clean"))
        client.close()
        wait_until(lambda: seen, what="the server to see the end")
        if who == "client":
            self.assertEqual(seen, [(b"", "cut" if front and back else "clean")])
        end = self.end(relay)
        cutter = front if who == "client" else back
        self.assertEqual(end[who + "_close"], "cut" if cutter else "clean")
        relay.close()

    def test_what_came_right_before_an_end_is_delivered(self):
        data = payload(11, 500_000)
        for front, back in LEGS:
            for how in ("clean", "cut"):
                with self.subTest(front=front, back=back, how=how):
                    seen = []
                    relay = self.between(front, back, script=lambda peer: seen.append(peer.read_to_end()))
                    client = self.peer(relay, front)
                    client.write(data)
                    if how == "clean":
                        client.close_notify()
                    # Closing would be a reset: there are tickets that the client has not read.
                    client.socket.shutdown(socket.SHUT_WR)
                    end = self.end(relay)
                    wait_until(lambda: seen, what="the server to see the end")
                    self.assertEqual((digest(seen[0][0]), seen[0][1]),
                                     (digest(data), "cut" if how == "cut" and front and back else "clean"))
                    self.assertEqual((end["in_bytes"], digest(relay.recording(end, "in"))), (len(data), digest(data)))
                    relay.close()

    def test_a_reset_is_told_from_a_cut(self):
        for front, back in LEGS:
            with self.subTest(front=front, back=back):
                seen = []

                def script(peer):
                    peer.read_exactly(5)
                    peer.write(b"world")
                    seen.append(peer.read_to_end())

                relay = self.between(front, back, script=script)
                client = self.peer(relay, front)
                client.write(b"hello")
                client.read_exactly(5)
                reset(client.socket)
                end = self.end(relay)
                self.assertEqual((end["reason"], end["client_close"]), ("client-reset", "reset"))
                wait_until(lambda: seen, what="the server to see the end")
                self.assertNotEqual(seen[0][1], "clean" if back else None)
                relay.close()


@unittest.skipIf(WHY_NOT, WHY_NOT)
class Ways(TLSTests):
    """The other options of the relay, with TLS on its legs."""

    def _bulk(self, relay, front, data):
        client = self.peer(relay, front)
        sender = Task(client.write, data) if not front else None
        received = client.duplex(data, len(data)) if front else client.read_exactly(len(data))
        if sender:
            sender.result()
        client.close_notify()
        self.assertEqual(client.read_to_end(), (b"", "clean"))
        self.assertEqual(digest(received), digest(data))
        return self.end(relay)

    def test_what_is_not_recorded_travels_all_the_same(self):
        data = payload(8, 3 << 20)
        for front, back in LEGS:
            for options in (("--relay", "splice", "--only", "192.0.2.1"), ("--relay", "auto", "--only", "192.0.2.1"),
                            ("--relay", "splice", "-f", "in"), ("--relay", "splice", "--max-recording", "100K"),
                            ("--relay", "copy", "-f", "out")):
                with self.subTest(front=front, back=back, options=options):
                    relay = self.between(front, back, *options)
                    end = self._bulk(relay, front, data)
                    self.assertEqual((end["reason"], end["in_bytes"], end["out_bytes"]),
                                     ("client-eof", len(data), len(data)))
                    relay.close()

    def test_without_the_features_of_newer_kernels_and_over_unix_sockets(self):
        data = payload(9, 3 << 20)
        for front, back in LEGS:
            for features in ("bundles", "bundles,multishot", "loop-files"):
                with self.subTest(front=front, back=back, features=features):
                    relay = self.between(front, back, env={"URING_RAWLOG_WITHOUT": features})
                    end = self._bulk(relay, front, data)
                    self.assertEqual(digest(relay.recording(end, "out")), digest(data))
                    relay.close()
            with self.subTest(front=front, back=back, unix=True), tempfile.TemporaryDirectory() as directory:
                context = CERTIFICATES.server_context() if back else None
                server = self.serve(tls.TLSServer(tls.echo, context, address=f"unix:{directory}/server"))
                relay = self.start(server, *(CERTIFICATES.pair() if front else ()),
                                   *(self.back("--connect-name", "localhost") if back else ()),
                                   listen=(f"unix:{directory}/relay",))
                sock = connect(f"unix:{directory}/relay")
                self.addCleanup(sock.close)
                client = Sealed(sock, CERTIFICATES.client_context()).handshake() if front else Plain(sock)
                sender = Task(client.write, data) if not front else None
                received = client.duplex(data, len(data)) if front else client.read_exactly(len(data))
                if sender:
                    sender.result()
                client.close_notify()
                self.assertEqual(client.read_to_end(), (b"", "clean"))
                end = self.end(relay)
                self.assertEqual((digest(received), digest(relay.recording(end, "in"))), (digest(data),) * 2)
                relay.close()

    def test_a_slow_reader_holds_its_sender_back(self):
        data = payload(10, 24 << 20)
        for front, back in LEGS:
            with self.subTest(front=front, back=back):
                written = [0]

                def script(peer):
                    for place in range(0, len(data), 16384):
                        peer.write(data[place:place + 16384])
                        written[0] = place
                    peer.close_notify()
                    peer.read_to_end()

                relay = self.between(front, back, script=script)
                client = self.peer(relay, front)
                before = relay.resident_bytes()
                wait_stalled(lambda: written[0], 0.5)
                self.assertLess(written[0], 16 << 20)
                self.assertLess(relay.resident_bytes() - before, 12 << 20)
                received, how = client.read_to_end()
                self.assertEqual((digest(received), how), (digest(data), "clean"))
                client.close_notify()
                self.assertEqual(self.end(relay)["out_bytes"], len(data))
                relay.close()

    def test_a_server_that_cannot_be_reached(self):
        for front in (False, True):
            pair = CERTIFICATES.pair() if front else ()
            relay = self.start(f"127.0.0.1:{self.refused_port()}", *pair, *self.back())
            client = self.peer(relay, front)
            # The relay says no end for a server that said none.
            self.assertEqual(client.read_to_end(), (b"", "cut" if front else "clean"))
            self.assertEqual(self.end(relay)["reason"], "connect-failed")

    def test_a_session_that_is_idle_or_outlasts_the_drain(self):
        relay = self.between(True, True, "--idle-timeout", "300ms")
        client = self.peer(relay)
        client.write(b"x")
        self.assertEqual(client.read_exactly(1), b"x")
        self.assertEqual(client.read_to_end(), (b"", "cut"))
        self.assertEqual(self.end(relay)["reason"], "idle")
        relay = self.between(True, True, "--drain", "200ms")
        client = self.peer(relay)
        client.write(b"x")
        self.assertEqual(client.read_exactly(1), b"x")
        self.assertEqual(relay.terminate(), 0)
        self.assertEqual(self.end(relay)["reason"], "drain")

    def test_keys_change_in_the_middle_and_nobody_renegotiates(self):
        relay = self.between(True, False)
        for version, command in (("-tls1_3", b"k"), ("-tls1_3", b"K"), ("-tls1_2", b"R")):
            with self.subTest(command):
                client = subprocess.Popen(["openssl", "s_client", "-connect", f"127.0.0.1:{relay.port}", version],
                                          stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
                self.addCleanup(client.stdout.close)
                self.addCleanup(client.wait, 20)
                self.addCleanup(client.kill)
                output = []
                Task(lambda: [output.append(line) for line in client.stdout])
                self._say(client, b"first")
                wait_until(lambda: b"first\n" in output, what="the first line")
                self._say(client, command)
                if command == b"R":
                    client.wait(20)
                    self.assertIn(b"RENEGOTIATING\n", output)
                else:
                    wait_until(lambda: b"KEYUPDATE\n" in output, what="the change of keys")
                    self._say(client, b"second")
                    wait_until(lambda: b"second\n" in output, what="the second line")
                client.stdin.close()
        self.peer(relay).close()

    @staticmethod
    def _say(client, line):
        client.stdin.write(line + b"\n")
        client.stdin.flush()

    def test_nothing_is_kept_of_sessions_that_are_over(self):
        relay = self.between(True, True)
        wrong = self.between(True, True, "--connect-name", "other.test.invalid")
        growth = []
        for relay, session in ((relay, self._whole_session), (relay, self._garbage), (relay, self._half_a_handshake),
                               (wrong, lambda relay: self.peer(relay).read_to_end())):
            for _ in range(100):
                session(relay)
            before = relay.resident_bytes()
            for _ in range(300):
                session(relay)
            # An engine takes more than 20 KiB.
            growth.append((relay.resident_bytes() - before) >> 10)
        self.assertLess(max(growth), 2048, growth)

    def _whole_session(self, relay):
        with connect(relay.address) as sock:
            client = Sealed(sock, CERTIFICATES.client_context()).handshake()
            client.write(b"x")
            client.read_exactly(1)

    def _garbage(self, relay):
        with connect(relay.address) as sock:
            sock.sendall(b"EHLO x\r\n")
            receive_until_end(sock)

    def _half_a_handshake(self, relay):
        with connect(relay.address) as sock:
            client = Sealed(sock, CERTIFICATES.client_context())
            try:
                client.object.do_handshake()
            except ssl.SSLWantReadError:
                client.flush()
            sock.recv(1)


@unittest.skipIf(WHY_NOT, WHY_NOT)
class Handshakes(TLSTests):
    def _expect_failure(self, relay, words):
        end = self.end(relay)
        self.assertEqual((end["reason"], end["tls"], end["in_bytes"]), ("tls-error", None, 0))
        line = wait_until(lambda: [line for line in relay.lines if "failed" in line], what="the line")[0]
        self.assertRegex(line, words)
        return end

    def test_what_is_no_client_hello(self):
        for name, garbage in (("text", b"EHLO x\r\n"), ("http", b"GET / HTTP/1.0\r\n\r\n"), ("zeros", b"\0" * 200),
                              ("noise", payload(6, 3000)), ("escapes", b"\x1b]0;x\x07\n" * 20)):
            with self.subTest(name):
                server = self.listener()
                relay = self.start(server, *CERTIFICATES.pair())
                client = self.client(relay)
                client.sendall(garbage)
                receive_until_end(client)
                self._expect_failure(relay, "TLS with the client '127.0.0.1:[0-9]+' failed: ")
                self.assertNotIn("\x1b", relay.stderr)
                self.assertEqual(os.listdir(relay.directory), ["sessions.jsonl"])
                relay.close()

    def test_a_client_that_goes_away_at_each_flight(self):
        for version in ("1.2", "1.3"):
            for flight in range(3):
                for how in (socket.socket.close, reset, "half"):
                    with self.subTest(version=version, flight=flight, how=how):
                        self._abort(version, flight, how)

    def _abort(self, version, flights, how):
        relay = self.between(True, False)
        client = Sealed(self.client(relay), CERTIFICATES.client_context(version))
        for _ in range(flights):
            try:
                client.object.do_handshake()
                break
            except ssl.SSLWantReadError:
                client.flush()
                client.feed(client.socket.recv(65536))
        if how == "half":
            # A flight that is broken off in the middle.
            try:
                client.object.do_handshake()
            except ssl.SSLWantReadError:
                pass
            flight = client.take_flight()
            client.socket.sendall(flight[:len(flight) // 2])
            client.socket.close()
        else:
            how(client.socket)
        end = self.end(relay)
        self.assertIn(end["reason"], ("tls-error", "client-reset", "client-eof"))
        self.assertEqual(end["in_bytes"], 0)
        # And the next one is served.
        self.peer(relay).close()
        relay.close()

    def test_a_client_that_does_not_trust_us(self):
        relay = self.between(True, False, certificate="selfsigned")
        with self.assertRaises(ssl.SSLCertVerificationError):
            self.peer(relay)
        self._expect_failure(relay, "the peer refused: unknown CA")

    def test_a_handshake_has_its_time(self):
        relay = self.between(True, False, "--handshake-timeout", "200ms")
        silent, slow = self.client(relay), self.client(relay)
        slow.sendall(b"\x16\x03\x01")
        for client in (silent, slow):
            receive_until_end(client)
        self.assertEqual({end["reason"] for end in relay.wait_ends(2)}, {"tls-error"})
        self.said(relay, "longer than --handshake-timeout")

    def test_a_server_that_says_nothing(self):
        server = self.listener()
        relay = self.start(server, *self.back("--handshake-timeout", "200ms"))
        client = Plain(self.client(relay))
        held = server.accept()
        self.assertEqual(client.read_to_end(), (b"", "clean"))
        held.close()
        end = self.end(relay)
        self.assertEqual((end["reason"], end["server_tls"]), ("tls-error", None))

    def test_a_client_with_tls_is_told_of_a_server_without(self):
        def plain(connection):
            connection.sendall(b"220 no TLS here\r\n")
            receive_until_end(connection)

        relay = self.start(self.serve(tls.ScriptedServer(plain)), *CERTIFICATES.pair(), *self.back())
        client = self.peer(relay)
        self.assertEqual(client.read_to_end(), (b"", "clean"))
        end = self.end(relay)
        self.assertEqual((end["reason"], end["server_tls"]), ("tls-error", None))
        self.said(relay, "what the peer sent is not TLS")

    def test_a_server_that_cannot_be_trusted(self):
        for certificate, options, words in (
                ("othername", (), "certificate of 'CN=other.test.invalid', for 'other.test.invalid', "
                                  "expected '127.0.0.1', is not trusted: .*mismatch"),
                ("selfsigned", (), "certificate of 'CN=alone'.*expected '127.0.0.1'.*self.signed"),
                ("expired", (), "certificate of 'CN=localhost'.*expired"),
                ("ecdsa", ("--connect-name", "mail.test.invalid"), "expected 'mail.test.invalid'.*mismatch")):
            for front in (True, False):
                with self.subTest(certificate, front=front):
                    relay = self.start(self.server(certificate=certificate), *self.back(*options),
                                       *(CERTIFICATES.pair() if front else ()))
                    client = self.peer(relay, front)
                    self.assertEqual(client.read_to_end(), (b"", "clean"))
                    end = self.end(relay)
                    self.assertEqual((end["reason"], end["server_tls"]), ("tls-error", None))
                    self.said(relay, words)
                    relay.close()

    def test_any_server_can_be_accepted(self):
        for certificate in ("othername", "selfsigned", "expired"):
            relay = self.start(self.server(certificate=certificate), "--connect-tls", "implicit", "--connect-insecure")
            client = self.peer(relay, False)
            client.write(b"x")
            self.assertEqual(client.read_exactly(1), b"x")
            relay.close()

    def test_sessions_go_on_while_others_shake_hands(self):
        relay = self.between(True, False)
        client = self.peer(relay)
        stop = []

        def storm():
            count = 0
            while not stop:
                self.peer(relay).close()
                count += 1
            return count

        storms = [Task(storm) for _ in range(4)]
        for _ in range(200):
            client.write(b"ping")
            self.assertEqual(client.read_exactly(4), b"ping")
        stop.append(True)
        self.assertTrue(all(all_results(storms)))


@unittest.skipIf(WHY_NOT, WHY_NOT)
class Reloading(TLSTests):
    def setUp(self):
        self.directory = tempfile.mkdtemp(prefix="uring-rawlog-tls-")
        self.addCleanup(shutil.rmtree, self.directory)
        os.chmod(self.directory, 0o755)
        self.use("ecdsa")

    def use(self, certificate, key=None):
        shutil.copy(CERTIFICATES.path(certificate), os.path.join(self.directory, "c.pem"))
        shutil.copy(CERTIFICATES.key(key or certificate), os.path.join(self.directory, "k.pem"))

    def options(self):
        return ("--tls-cert", os.path.join(self.directory, "c.pem"), "--tls-key", os.path.join(self.directory, "k.pem"))

    def shown(self, relay):
        """The certificate that a new client is shown."""
        client = self.peer(relay)
        certificate = client.object.getpeercert(binary_form=True)
        client.close()
        return certificate

    @staticmethod
    def der(name):
        with open(CERTIFICATES.path(name), encoding="ascii") as file:
            return ssl.PEM_cert_to_DER_cert(file.read().partition("-----END CERTIFICATE-----")[0]
                                            + "-----END CERTIFICATE-----\n")

    def test_a_new_pair_is_taken_and_no_session_is_cut(self):
        relay = self.start(self.server(tls=False), *self.options())
        client = self.peer(relay)
        for name in ("chain", "rsa", "ecdsa"):
            self.use(name)
            relay.signal(signal.SIGHUP)
            wait_until(lambda name=name: self.shown(relay) == self.der(name), what=f"the certificate {name}")
            client.write(b"still here")
            self.assertEqual(client.read_exactly(10), b"still here")

    def test_a_bad_pair_is_refused_and_the_old_one_stays(self):
        relay = self.start(self.server(tls=False), *self.options())
        said = len(relay.lines)
        for name, words in (("mismatch", "is not the key of the certificate"), ("expired", "expired on"),
                            ("gone", "No such file")):
            with self.subTest(name):
                if name == "mismatch":
                    self.use("ecdsa", "rsa")
                elif name == "expired":
                    self.use("expired")
                else:
                    os.unlink(os.path.join(self.directory, "k.pem"))
                relay.signal(signal.SIGHUP)
                wait_until(lambda words=words: words in "\n".join(relay.lines[said:]), what=words)
                self.assertEqual(self.shown(relay), self.der("ecdsa"))

    def test_authorities_are_read_again(self):
        trusted = os.path.join(self.directory, "a.pem")
        shutil.copy(CERTIFICATES.path("selfsigned"), trusted)
        relay = self.start(self.server(), "--connect-tls", "implicit", "--connect-ca", trusted)
        self.assertEqual(self.peer(relay, False).read_to_end(), (b"", "clean"))
        shutil.copy(CERTIFICATES.path("authority"), trusted)
        for _ in range(10):
            relay.signal(signal.SIGHUP)

        def trusts():
            client = self.peer(relay, False)
            try:
                client.write(b"x")
                return client.read(1) == b"x"
            except OSError:
                return False  # the relay has closed already

        wait_until(trusts, what="the new authority")

    def test_tickets_of_an_older_certificate_are_no_hindrance(self):
        relay = self.start(self.server(tls=False), *self.options())
        context = CERTIFICATES.client_context()
        client = self.peer(relay, context=context)
        client.write(b"x")
        client.read_exactly(1)
        session = client.object.session
        self.use("chain")
        relay.signal(signal.SIGHUP)
        wait_until(lambda: self.shown(relay) == self.der("chain"), what="the new certificate")
        client = self.peer(relay, context=context, session=session)
        client.write(b"x")
        self.assertEqual(client.read_exactly(1), b"x")

    @unittest.skipIf(os.geteuid() != 0, "needs root")
    def test_a_key_that_the_user_cannot_read_is_said_at_start(self):
        os.chmod(os.path.join(self.directory, "k.pem"), 0o600)
        recordings = tempfile.mkdtemp(prefix="uring-rawlog-tls-")
        self.addCleanup(shutil.rmtree, recordings)
        os.chown(recordings, pwd.getpwnam("nobody").pw_uid, -1)
        relay = self.start(self.server(tls=False), *self.options(), "--user", "nobody", directory=recordings)
        path = os.path.join(self.directory, "k.pem")
        self.assertEqual(len([line for line in relay.lines if path in line and "SIGHUP" in line]), 1, relay.stderr)
        said = len(relay.lines)
        relay.signal(signal.SIGHUP)
        wait_until(lambda: "Permission denied" in "\n".join(relay.lines[said:]), what="the refusal")
        self.assertEqual(self.shown(relay), self.der("ecdsa"))


@unittest.skipIf(WHY_NOT, WHY_NOT)
class BadInput(unittest.TestCase):
    def check(self, status, words, *options, **keywords):
        with self.subTest(options):
            with tempfile.TemporaryDirectory() as directory:
                code, _, said = run("--listen", "127.0.0.1:0", "--connect", "127.0.0.1:9", "--dir", directory, *options,
                                    timeout=10, **keywords)
            self.assertEqual((code, said.count("\n")), (status, 1), said)
            self.assertRegex(said, words)

    def files(self, certificate, key):
        return "--tls-cert", certificate, "--tls-key", key

    def test_files_that_cannot_be_read(self):
        path, key = CERTIFICATES.path("ecdsa"), CERTIFICATES.key("ecdsa")
        self.check(66, "--tls-cert: cannot read '/none': No such file", *self.files("/none", key))
        self.check(66, "--tls-key: cannot read '/none': No such file", *self.files(path, "/none"))
        self.check(66, "--tls-cert: '/etc' is a directory", *self.files("/etc", key))
        self.check(66, "--tls-key: '/etc' is a directory", *self.files(path, "/etc"))
        self.check(66, "--tls-key: '/dev/null' is not an ordinary file", *self.files(path, "/dev/null"))
        self.check(66, "--tls-key-password-file: cannot read '/none'", *self.files(path, key),
                   "--tls-key-password-file", "/none")
        self.check(66, "--connect-ca: cannot read '/none'", "--connect-tls", "implicit", "--connect-ca", "/none")
        self.check(66, "--connect-ca: '/etc' is a directory", "--connect-tls", "implicit", "--connect-ca", "/etc")

    @unittest.skipIf(os.geteuid() != 0, "needs root")
    def test_a_key_that_only_another_may_read(self):
        os.chmod(CERTIFICATES.key("ecdsa"), 0o600)
        self.check(66, "--tls-key: cannot read '.*': Permission denied",
                   *self.files(CERTIFICATES.path("ecdsa"), CERTIFICATES.key("ecdsa")), user="nobody", group="nogroup",
                   extra_groups=[])

    def test_files_that_are_wrong(self):
        path, key = CERTIFICATES.path("ecdsa"), CERTIFICATES.key("ecdsa")
        self.check(78, "is not the key of the certificate", *self.files(path, CERTIFICATES.key("rsa")))
        self.check(78, "expired on", *CERTIFICATES.pair("expired"))
        self.check(78, "holds no certificate in PEM form", *self.files(key, key))
        self.check(78, "holds no private key in PEM form", *self.files(path, path))
        self.check(78, "for keys of the same kind", *CERTIFICATES.pair("ecdsa"), *CERTIFICATES.pair("chain"))
        self.check(78, "--connect-ca: '.*' holds no certificate", "--connect-tls", "implicit", "--connect-ca", key)

    def test_keys_and_passwords(self):
        locked, password = CERTIFICATES.encrypted_key()
        path = CERTIFICATES.path("ecdsa")
        self.check(78, "is encrypted; .* --tls-key-password-file", *self.files(path, locked))
        with tempfile.NamedTemporaryFile() as wrong:
            self.check(78, "is empty", *self.files(path, locked), "--tls-key-password-file", wrong.name)
            wrong.write(b"not it\n")
            wrong.flush()
            self.check(78, "is not the password of", *self.files(path, locked), "--tls-key-password-file", wrong.name)

    def test_options_that_contradict_each_other(self):
        path, key = CERTIFICATES.path("ecdsa"), CERTIFICATES.key("ecdsa")
        pair = self.files(path, key)
        for options, words in (
                (("--tls-cert", path), "--tls-key is missing"),
                (("--tls-key", key), "--tls-cert is missing"),
                (("--tls", "implicit"), "--tls: name the certificate"),
                (("--tls-key-password-file", path), "there is no key"),
                ((*pair, "--tls", "maybe"), "'maybe' is not 'implicit' or 'starttls'"),
                ((*pair, "--tls", "starttls"), "--tls starttls: .*add --protocol"),
                (("--connect-tls", "starttls"), "--connect-tls starttls: .*add --protocol"),
                (("--connect-tls", "maybe"), "'maybe' is not"),
                (("--connect-ca", path), "the server's leg has no TLS"),
                (("--connect-name", "x"), "the server's leg has no TLS"),
                (("--connect-insecure",), "the server's leg has no TLS"),
                (("--connect-tls", "implicit", "--connect-insecure", "--connect-ca", path), "leave one of them out"),
                (("--connect-tls", "implicit", "--connect-name", "a b"), "--connect-name"),
                ((*pair, "--tls-min-version", "1.1"), "'1.1' is not '1.2' or '1.3'"),
                (("--tls-min-version", "1.3"), "neither leg has TLS"),
                (("--handshake-timeout", "soon"), "--handshake-timeout")):
            self.check(64, words, *options)


@unittest.skipIf(WHY_NOT, WHY_NOT)
class Commands(TLSTests):
    """docs/TLS.md: its commands run."""

    def test_every_command_starts(self):
        with open(os.path.join(ROOT, "docs", "TLS.md"), encoding="utf-8") as page:
            lines = [line.strip() for line in page if line.startswith("    uring-rawlog ")]
        self.assertGreaterEqual(len(lines), 7)
        for line in lines:
            with self.subTest(line), tempfile.TemporaryDirectory() as directory:
                words = [CERTIFICATES.in_place_of(word).replace("/var/log/rawlog", directory)
                         .replace("mail.example.org", "localhost") for word in shlex.split(line)[1:]]
                if words[0] == "check":
                    self.assertEqual(run(*words)[0], 0)
                    continue
                given = {}
                for option in ("--listen", "--connect", "--dir"):
                    place = words.index(option)
                    given[option] = words[place + 1]
                    del words[place:place + 2]
                relay = self.start(given["--connect"], *words, directory=given["--dir"])
                self.assertEqual(len(relay.addresses), 1)


@unittest.skipIf(WHY_NOT, WHY_NOT)
class Secrets(TLSTests):
    @unittest.skipIf(os.geteuid() != 0, "needs root")
    def test_no_core_file_can_be_written(self):
        nobody = pwd.getpwnam("nobody")
        recordings = tempfile.mkdtemp(prefix="uring-rawlog-tls-")
        self.addCleanup(shutil.rmtree, recordings)
        os.chown(recordings, nobody.pw_uid, -1)
        os.chmod(CERTIFICATES.key("chain"), 0o644)
        for secured in (False, True):
            relay = self.start(self.server(tls=False), *(CERTIFICATES.pair("chain") if secured else ()),
                               "--sandbox", "off", directory=recordings, preexec_fn=lambda: os.setuid(nobody.pw_uid))
            # The sandbox forbids them too, whatever is in memory. The kernel gives the files of a process that may not be dumped to root (proc(5)).
            owner = os.stat(f"/proc/{relay.pid}/environ").st_uid
            self.assertEqual(owner, 0 if secured else nobody.pw_uid)

    def test_nothing_of_a_key_is_written(self):
        locked, password = CERTIFICATES.encrypted_key()
        relay = self.between(False, True, "--tls-cert", CERTIFICATES.path("ecdsa"), "--tls-key", locked,
                             "--tls-key-password-file", password, "-t")
        client = self.peer(relay)
        client.write(b"hello\r\n")
        client.read_exactly(7)
        client.close_notify()
        client.read_to_end()
        self.end(relay)
        bad = self.client(relay)
        bad.sendall(b"\x16\x03\x01\x00\x05aaaaa")
        receive_until_end(bad)
        relay.wait_ends(2)
        key = openssl("pkey", "-in", CERTIFICATES.key("ecdsa"), "-outform", "DER")
        number = key[36:68]  # of P-256, behind 36 bytes of structure (RFC 5958, RFC 5915)
        written = relay.stderr.encode()
        for name in os.listdir(relay.directory):
            with open(os.path.join(relay.directory, name), "rb") as file:
                written += file.read()
        for secret in (number, number.hex().encode(), CERTIFICATES.password.encode(), b"PRIVATE KEY"):
            self.assertNotIn(secret, written)


@unittest.skipIf(WHY_NOT, WHY_NOT)
class Programs(TLSTests):
    """Clients and servers that others wrote."""

    def test_openssl_on_both_sides(self):
        listener = self.listener()
        port = listener.port
        listener.close()
        server = subprocess.Popen(["openssl", "s_server", "-accept", f"127.0.0.1:{port}", "-cert",
                                   CERTIFICATES.path("ecdsa"), "-key", CERTIFICATES.key("ecdsa"), "-rev", "-quiet",
                                   "-groups", "P-384"],  # which the relay does not guess at once
                                  stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.addCleanup(server.wait, 20)
        self.addCleanup(server.kill)

        def listens():
            with socket.socket() as probe:
                return probe.connect_ex(("127.0.0.1", port)) == 0

        wait_until(listens, what="s_server")
        relay = self.start(f"127.0.0.1:{port}", *CERTIFICATES.pair("chain"), *self.back())
        # With the second pair of groups the relay has to ask for another key share (RFC 8446 section 4.1.4).
        for version in (["-tls1_2"], ["-tls1_3"], ["-tls1_3", "-groups", "P-521:P-256"]):
            done = subprocess.run(
                ["openssl", "s_client", "-connect", f"127.0.0.1:{relay.port}", *version, "-CAfile",
                 CERTIFICATES.path("authority"), "-verify_return_error", "-verify_hostname", "localhost",
                 "-servername", "localhost", "-ign_eof"],
                input=b"hello\nCLOSE\n", capture_output=True, timeout=30, check=False)
            self.assertEqual(done.returncode, 0, done.stderr)
            self.assertIn(b"olleh", done.stdout)
            self.assertIn(b"Verify return code: 0 (ok)", done.stdout)
        for end in relay.wait_ends(3):
            self.assertEqual(relay.recording(end, "in"), b"hello\nCLOSE\n")
            self.assertEqual(relay.recording(end, "out")[:6], b"olleh\n")

    @unittest.skipUnless(shutil.which("curl"), "needs curl")
    def test_curl(self):
        body = payload(7, 300_000)

        def script(peer):
            while peer.read_line().strip():
                pass
            peer.write(b"HTTP/1.0 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
            peer.close_notify()

        relay = self.between(True, True, script=script)
        done = subprocess.run(
            ["curl", "-sS", "--cacert", CERTIFICATES.path("authority"), f"https://localhost:{relay.port}/"],
            capture_output=True, timeout=30, check=False)
        self.assertEqual((done.returncode, done.stdout == body), (0, True), done.stderr)

    def test_smtplib(self):
        def script(peer):
            peer.write(b"220 hello\r\n")
            while line := peer.read_line():
                peer.write(b"221 bye\r\n" if line.upper().startswith(b"QUIT") else b"250 ok\r\n")
            peer.close_notify()

        relay = self.between(True, True, "--protocol", "smtp", script=script)
        with smtplib.SMTP_SSL("localhost", relay.port, context=CERTIFICATES.client_context()) as client:
            self.assertEqual(client.noop()[0], 250)
        end = self.end(relay)
        self.assertIn(b"NOOP\r\n", relay.recording(end, "in").upper())


if __name__ == "__main__":
    unittest.main()
