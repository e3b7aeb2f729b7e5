"""Layout pcapng: one capture for all sessions, as the relay writes it."""

import contextlib
import glob
import json
import os
import signal
import socket
import tempfile
import time
import unittest

import peers
from dissection import Capture
from peers import MIB, EchoServer, EndToEnd, Task, connect, name_of, payload, receive_all, receive_exactly, send_chunks
from relay import Relay, run, wait_until
from test_captures import fields, tshark
from test_recording import mounted

IMAP = [(b"* OK ready\r\n", b"a LOGIN joe secret\r\n"), (b"a OK done\r\n", b"b LOGOUT\r\n"),
        (b"* BYE\r\nb OK done\r\n", b"")]


def captures(directory, suffix=".pcapng"):
    """The captures of a directory, in the order in which they were begun."""
    return sorted(glob.glob(os.path.join(directory, "*" + suffix)), key=lambda path: int(path.split(".")[2]))


def read(directory, suffix=".pcapng"):
    """All captures of a directory, put together."""
    sessions, found = {}, []
    for path in captures(directory, suffix):
        with open(path, "rb") as file:
            found.append(Capture(file.read(), sessions))
    return sessions, found


class CaptureTest(EndToEnd):
    def start_captured(self, connect_to, *options, **keywords):
        return self.start(connect_to, "--layout", "pcapng", *options, **keywords)

    def ended(self, relay):
        """Ends the relay: its captures."""
        self.assertEqual(relay.terminate(), 0, relay.stderr)
        self.assertEqual(glob.glob(os.path.join(relay.directory, "*.part")), [])
        return read(relay.directory)

    def assert_whole(self, session, record, up, down):
        self.assertEqual(record["recording"], "complete")
        self.assertTrue(bytes(session.streams["in"]) == up, "in differs")
        self.assertTrue(bytes(session.streams["out"]) == down, "out differs")
        for direction, data in (("in", up), ("out", down)):
            self.assertEqual((record[direction + "_bytes"], record[direction + "_recorded"]), (len(data), len(data)))
        self.assertEqual(json.loads(session.record), record)


class Sessions(CaptureTest):
    def test_sessions_in_one_capture(self):
        """Many sessions at once: every byte of each, FIN or RST, and an index that says the same."""
        server = self.serve(EchoServer())
        relay = self.start_captured(server.address)
        sent = {}

        def work(number):
            data = payload(number, 1000 * number)
            client = connect(relay.address)
            name = name_of(client)
            receiver = Task(receive_all, client)
            send_chunks(client, data, number)
            self.assertTrue(receiver.result() == data)
            client.close()
            sent[name] = data

        peers.all_results([Task(work, number) for number in range(40)])
        records = {record["client"]: record for record in relay.wait_ends(40)}
        sessions, (capture,) = self.ended(relay)
        self.assertEqual(len(sessions), 40)
        for name, data in sent.items():
            session = sessions[records[name]["id"]]
            self.assert_whole(session, records[name], data, data)
            self.assertEqual(session.opener, "in")
            self.assertEqual({f"{host}:{port}" for host, port in session.ends},
                             {name, f"127.0.0.1:{relay.port}"})
            self.assertIsNone(session.reset)
        self.assertEqual(capture.section[4].split()[0], "uring-rawlog")

    def test_wireshark_and_tcpdump_agree(self):
        server = self.serve(peers.ScriptedServer(imap))
        relay = self.start_captured(server.address, "--protocol", "imap", "--secrets", "keep")
        speak(relay.address)
        relay.wait_ends(1)
        self.ended(relay)
        (path,) = captures(relay.directory)
        port = f"tcp.port=={relay.port},imap"
        shown, said = tshark(path, "-d", port, "-T", "fields", "-Y", "imap", "-e", "imap.request.command", "-e",
                             "imap.response.status")
        self.assertEqual(said, [])
        self.assertIn("LOGIN", "".join(shown))
        expert, said = tshark(path, "-q", "-z", "expert,warn")
        self.assertEqual((said, [line for line in expert if "Warn" in line or "Error" in line]), ([], []))
        times = [float(time_) for (time_,) in fields(path, "", "frame.time_epoch")]
        self.assertEqual(times, sorted(times))

    def test_credentials_are_left_out(self):
        server = self.serve(peers.ScriptedServer(imap))
        relay = self.start_captured(server.address, "--protocol", "imap")
        speak(relay.address)
        (record,) = relay.wait_ends(1)
        sessions, (capture,) = self.ended(relay)
        self.assertEqual((record["redacted"], record["recording"], record["user"]), (1, "complete", "joe"))
        session = sessions[record["id"]]
        self.assertEqual(bytes(session.streams["in"]), b"a LOGIN joe <redacted>\r\nb LOGOUT\r\n")
        # The line is one packet, in spite of what is left out of it.
        self.assertIn(b"a LOGIN joe <redacted>\r\n", [packet.payload for packet in capture.packets])
        with open(captures(relay.directory)[0], "rb") as file:
            self.assertNotIn(b"secret", file.read())

    def test_up_to_the_login(self):
        server = self.serve(peers.ScriptedServer(imap))
        relay = self.start_captured(server.address, "--protocol", "imap", "--pre-login")
        speak(relay.address)
        (record,) = relay.wait_ends(1)
        sessions, _ = self.ended(relay)
        session = sessions[record["id"]]
        self.assertEqual(record["recording"], "pre-login")
        self.assertEqual(bytes(session.streams["in"]), b"a LOGIN joe <redacted>\r\n")
        self.assertEqual(bytes(session.streams["out"]), b"* OK ready\r\na OK done\r\n")

    def test_back_leg(self):
        """Between relay and server: the relay opens, and its PROXY header comes first."""
        server = self.serve(EchoServer())
        relay = self.start_captured(server.address, "--leg", "back", "--send-proxy", "v1")
        with connect(relay.address) as client:
            client.sendall(b"hello\r\n")
            header = receive_exactly(client, 6)
            rest = b""
            while not rest.endswith(b"hello\r\n"):
                rest += client.recv(100)
            client.shutdown(socket.SHUT_WR)
            receive_all(client)
        self.assertEqual(header, b"PROXY ")
        (record,) = relay.wait_ends(1)
        sessions, _ = self.ended(relay)
        session = sessions[record["id"]]
        self.assertEqual(session.opener, "out")
        self.assertTrue(bytes(session.streams["out"]).startswith(b"PROXY TCP4 127.0.0.1 127.0.0.1 "))
        self.assertTrue(bytes(session.streams["out"]).endswith(b"\r\nhello\r\n"))
        self.assertEqual(bytes(session.streams["in"]), header + rest)
        self.assertIn(("127.0.0.1", server.address.rsplit(":", 1)[1]), [(str(h), str(p)) for h, p in session.ends])

    def test_addresses_of_a_proxy_header(self):
        server = self.serve(EchoServer())
        relay = self.start_captured(server.address, "--proxy-from", "127.0.0.1")
        with connect(relay.address) as client:
            client.sendall(b"PROXY TCP6 2001:db8::1 2001:db8::2 4711 143\r\nhello\r\n")
            client.shutdown(socket.SHUT_WR)
            self.assertEqual(receive_all(client), b"hello\r\n")
        (record,) = relay.wait_ends(1)
        sessions, _ = self.ended(relay)
        session = sessions[record["id"]]
        self.assertEqual({(str(h), p) for h, p in session.ends}, {("2001:db8::1", 4711), ("2001:db8::2", 143)})
        self.assertEqual(bytes(session.streams["in"]), b"hello\r\n")

    def test_unix_sockets(self):
        with tempfile.TemporaryDirectory() as sockets:
            server = self.serve(EchoServer(address=f"unix:{sockets}/server"))
            relay = self.start_captured(server.address, "--protocol", "imap", listen=(f"unix:{sockets}/relay",))
            with connect(f"unix:{sockets}/relay") as client:
                client.sendall(b"a NOOP\r\n")
                client.shutdown(socket.SHUT_WR)
                self.assertEqual(receive_all(client), b"a NOOP\r\n")
            (record,) = relay.wait_ends(1)
            sessions, _ = self.ended(relay)
            session = sessions[record["id"]]
            self.assertEqual({(str(h), p) for h, p in session.ends}, {("240.0.0.0", 32769), ("248.0.0.1", 143)})
            self.assertEqual(fields(captures(relay.directory)[0], "imap", "imap.request.command"), [["NOOP"], [""]])

    def test_reset_of_a_client(self):
        listener = self.listener()
        relay = self.start_captured(listener.address)
        client, server = self.pair(relay, listener)
        server.sendall(b"greeting\r\n")
        self.assertEqual(receive_exactly(client, 10), b"greeting\r\n")
        peers.reset(client)
        receive_all(server)
        server.close()
        (record,) = relay.wait_ends(1)
        sessions, _ = self.ended(relay)
        self.assertEqual((record["client_close"], sessions[record["id"]].reset), ("reset", "in"))

    def test_a_server_that_is_not_there(self):
        relay = self.start_captured(f"127.0.0.1:{self.refused_port()}")
        with connect(relay.address) as client:
            receive_all(client)
        (record,) = relay.wait_ends(1)
        sessions, _ = self.ended(relay)
        self.assertEqual(record["reason"], "connect-failed")
        self.assertEqual(json.loads(sessions[record["id"]].record), record)

    def test_one_direction_only(self):
        server = self.serve(EchoServer())
        relay = self.start_captured(server.address, "-f", "in")
        self.exchange(relay.address)
        (record,) = relay.wait_ends(1)
        sessions, _ = self.ended(relay)
        self.assertEqual(bytes(sessions[record["id"]].streams["in"]), b"hello\r\n")
        self.assertEqual(bytes(sessions[record["id"]].streams["out"]), b"")
        self.assertEqual((record["recording"], record["out_recorded"]), ("complete", 0))

    def test_limit(self):
        server = self.serve(EchoServer())
        relay = self.start_captured(server.address, "--max-recording", "3")
        self.exchange(relay.address)
        (record,) = relay.wait_ends(1)
        sessions, _ = self.ended(relay)
        self.assertEqual(record["recording"], "truncated")
        self.assertEqual(bytes(sessions[record["id"]].streams["in"]), b"hel")

    def test_no_session_makes_no_capture(self):
        relay = self.start_captured("127.0.0.1:1")
        self.assertEqual(self.ended(relay), ({}, []))

    def test_flush(self):
        """What was recorded is in the file after the flush interval, whole blocks of it."""
        listener = self.listener()
        relay = self.start_captured(listener.address, "--flush", "50")
        client, server = self.pair(relay, listener)
        client.sendall(b"hello\r\n")
        receive_exactly(server, 7)

        wait_until(lambda: captures(relay.directory, ".pcapng.part"), what="a capture")
        wait_until(lambda: os.path.getsize(captures(relay.directory, ".pcapng.part")[0]), what="its first blocks")
        wait_until(lambda: recorded_part(relay) == [b"hello\r\n"], what="the recording")
        self.finish(client, server)


def recorded_part(relay):
    sessions, _ = read(relay.directory, ".pcapng.part")
    return [bytes(session.streams["in"]) for session in sessions.values()]


def imap(connection):
    for said, expected in IMAP:
        connection.sendall(said)
        if expected:
            receive_exactly(connection, len(expected))


def speak(address):
    with connect(address) as client:
        for said, answer in IMAP:
            receive_exactly(client, len(said))
            if answer:
                client.sendall(answer)
        client.shutdown(socket.SHUT_WR)
        receive_all(client)


class Rotation(CaptureTest):
    def test_rotation_loses_nothing(self):
        """Captures of 64 KiB: what the parts hold together is what was sent, and each is whole by itself."""
        server = self.serve(EchoServer())
        relay = self.start_captured(server.address, "--rotate-size", "64K", "--flush", "5")
        data = payload(3, 2 * MIB)
        peers.all_results([Task(self.echo, relay, data[:MIB // (1 + number % 3)], number) for number in range(8)])
        records = relay.wait_ends(8)
        sessions, found = self.ended(relay)
        self.assertGreater(len(found), 2)
        for record in records:
            session = sessions[record["id"]]
            expected = data[:record["in_bytes"]]
            self.assert_whole(session, record, expected, expected)
        for path in captures(relay.directory):
            self.assertTrue(os.path.exists(path.replace(".pcapng", ".idx")))

    def echo(self, relay, data, seed):
        with connect(relay.address) as client:
            receiver = Task(receive_all, client)
            send_chunks(client, data, seed)
            self.assertTrue(receiver.result() == data)

    def test_by_age(self):
        listener = self.listener()
        relay = self.start_captured(listener.address, "--rotate-age", "200ms", "--flush", "10")
        client, server = self.pair(relay, listener)
        for number in range(3):
            client.sendall(b"hello\r\n")
            receive_exactly(server, 7)
            wait_until(lambda: len(captures(relay.directory)) > number, what="the capture to be ended")
        name = name_of(client)
        self.finish(client, server)
        record = self.end_of(relay, name)
        sessions, found = self.ended(relay)
        self.assertGreaterEqual(len(found), 3)
        self.assertEqual(bytes(sessions[record["id"]].streams["in"]), 3 * b"hello\r\n")

    def test_name_that_is_taken(self):
        """A stale .part by the same name is left alone."""
        with tempfile.TemporaryDirectory() as directory:
            server = self.serve(EchoServer())
            relay = self.start_captured(server.address, directory=directory)
            taken = []
            for second in range(int(time.time()) - 1, int(time.time()) + 30):
                name = time.strftime("%Y%m%d-%H%M%S", time.localtime(second))
                taken.append(os.path.join(directory, f"{name}.{relay.pid}.1.pcapng.part"))
                with open(taken[-1], "w", encoding="ascii") as file:
                    file.write("mine")
            self.exchange(relay.address)
            (record,) = relay.wait_ends(1)
            self.assertEqual(relay.terminate(), 0)
            for path in taken:
                with open(path, encoding="ascii") as file:
                    self.assertEqual(file.read(), "mine")
            sessions, _ = read(directory)
            self.assertEqual(bytes(sessions[record["id"]].streams["in"]), b"hello\r\n")
            self.assertEqual(captures(directory)[0].split(".")[-2], "2")


class Failures(CaptureTest):
    @unittest.skipUnless(os.geteuid() == 0, "mounts a small file system")
    def test_full_disk(self):
        """A full disk costs the recordings of sessions that it lacks something of, and those only; later ones are whole."""
        with mounted("tmpfs", "tmpfs", "size=2m,mode=0700") as directory, tempfile.TemporaryDirectory() as index, \
                EchoServer() as server, \
                Relay(server.address, "--layout", "pcapng", "--index", index, directory=directory, index=index) as relay:
            data = payload(5, 4 * MIB)
            with connect(relay.address) as client:
                receiver = Task(receive_all, client)
                send_chunks(client, data, 5)
                self.assertTrue(receiver.result() == data)
            (record,) = relay.wait_ends(1)
            self.assertEqual(record["recording"], "failed")
            self.assertLess(record["in_recorded"], 4 * MIB)
            (part,) = captures(directory, ".pcapng.part")
            with open(part, "rb") as file:
                cut = Capture(file.read())
            (session,) = cut.sessions.values()
            self.assertEqual(len(session.streams["in"]), record["in_recorded"])
            self.assertEqual(len(session.streams["out"]), record["out_recorded"])
            self.assertTrue(bytes(session.streams["in"]) == data[:record["in_recorded"]])
            os.unlink(part)

            def again():
                self.exchange(relay.address)
                return [r for r in relay.wait_ends(1) if r["recording"] == "complete"]

            (record,) = wait_until(again, what="a recording")[:1]
            relay.terminate()
            sessions, _ = read(directory)
            self.assertEqual(bytes(sessions[record["id"]].streams["in"]), b"hello\r\n")

    def test_killed(self):
        """Whatever is there when the relay is killed is readable up to the last whole block."""
        server = self.serve(EchoServer())
        relay = self.start_captured(server.address, "--flush", "5")
        with connect(relay.address) as client:
            sender = Task(peers.send_pattern, client, 7, 64 * MIB)
            with contextlib.suppress(OSError):
                wait_until(lambda: sum(map(os.path.getsize, captures(relay.directory, ".part"))) > MIB)
                relay.signal(signal.SIGKILL)
                while client.recv(1 << 20):
                    pass
        with contextlib.suppress(OSError, AssertionError):
            sender.result()
        relay.wait()
        sessions, _ = read(relay.directory, ".pcapng.part")
        (session,) = sessions.values()
        self.assertGreater(len(session.streams["in"]), 0)
        expected = b"".join(bytes(view) for view in peers.pattern(7, MIB))
        self.assertTrue(expected.startswith(bytes(session.streams["in"][:MIB])))

    def test_little_memory(self):
        """With the least memory senders wait, and nothing is lost."""
        server = self.serve(EchoServer())
        relay = self.start_captured(server.address, "--log-memory", "64K", "--log-wait", "60s")
        data = payload(9, 3 * MIB)
        with connect(relay.address) as client:
            receiver = Task(receive_all, client)
            send_chunks(client, data, 9)
            self.assertTrue(receiver.result() == data)
        (record,) = relay.wait_ends(1)
        sessions, _ = self.ended(relay)
        self.assert_whole(sessions[record["id"]], record, data, data)


class Options(unittest.TestCase):
    def test_contradictions(self):
        for options, said in ((("-b",), "--boundaries"), (("--rotate-size", "1K"), "--rotate-size"),
                              (("--rotate-age", "soon"), "--rotate-age"),
                              (("--dir", "/tmp/%{ip}"), "--dir")):
            arguments = ["--listen", "127.0.0.1:0", "--connect", "127.0.0.1:1", "--layout", "pcapng", *options]
            if "--dir" not in options:
                arguments += ["--dir", "/tmp"]
            code, _, errors = run(*arguments)
            self.assertEqual(code, 64, errors)
            self.assertIn(said, errors)
        code, _, errors = run("--listen", "127.0.0.1:0", "--connect", "127.0.0.1:1", "--dir", "/tmp",
                              "--rotate-size", "1G")
        self.assertEqual(code, 64)
        self.assertIn("--layout pcapng", errors)


if __name__ == "__main__":
    unittest.main()
