"""Relaying: whatever one side sends reaches the other, in order, whole, and so does its end."""

import os
import resource
import shutil
import signal
import socket
import struct
import subprocess
import tempfile
import threading
import time
import unittest

from peers import (DEADLINE, DESCRIPTORS, MIB, EchoServer, EndToEnd, ScriptedServer, Task, all_results, connect,
                   digest, file_digest, has_ipv6, name_of, pattern_digest, payload, receive_all,
                   receive_digest, receive_exactly, receive_until_end, reset, send_chunks, send_pattern,
                   unacknowledged, wait_stalled)
from relay import PROGRAM, run, wait_until


class Bytes(EndToEnd):
    def test_random_chunks_both_ways_at_once(self):
        listener = self.listener()
        relay = self.start(listener)
        for seed, largest in ((1, 64), (2, 4096), (3, 65536), (4, MIB)):
            with self.subTest(seed=seed, largest=largest):
                size = 20_000 if largest == 64 else 3 * MIB
                up, down = payload(seed, size), payload(1000 + seed, size - 7)
                client, server = self.pair(relay, listener)
                sending = [Task(send_chunks, client, up, seed, largest),
                           Task(send_chunks, server, down, 1000 + seed, largest)]
                receiving = Task(receive_all, server)
                got_down = receive_all(client)
                self.assertTrue(receiving.result() == up, "client to server differs")
                self.assertTrue(got_down == down, "server to client differs")
                all_results(sending)
                name = name_of(client)
                client.close()
                server.close()
                record = self.end_of(relay, name)
                self.assertEqual((record["in_bytes"], record["out_bytes"]), (len(up), len(down)))
                self.assertTrue(relay.recording(record, "in") == up, "the .in differs")
                self.assertTrue(relay.recording(record, "out") == down, "the .out differs")

    def test_one_byte_at_a_time(self):
        listener = self.listener()
        relay = self.start(listener)
        client, server = self.pair(relay, listener)
        up, down = payload(5, 1500), payload(6, 1500)
        # Each byte answers the one before: no read can see two.
        for i in range(len(up)):
            client.sendall(up[i:i + 1])
            self.assertEqual(server.recv(10), up[i:i + 1])
            server.sendall(down[i:i + 1])
            self.assertEqual(client.recv(10), down[i:i + 1])
        # And as fast as they can be sent, both ways.
        fast_up, fast_down = payload(7, 5000), payload(8, 5000)
        tasks = [Task(send_chunks, client, fast_up, 1, 1), Task(send_chunks, server, fast_down, 1, 1)]
        receiving = Task(receive_all, server)
        self.assertEqual(receive_all(client), fast_down)
        self.assertEqual(receiving.result(), fast_up)
        all_results(tasks)
        name = name_of(client)
        client.close()
        server.close()
        record = self.end_of(relay, name)
        self.assertEqual(relay.recording(record, "in"), up + fast_up)
        self.assertEqual(relay.recording(record, "out"), down + fast_down)

    def test_64_mebibytes_each_way(self):
        size = 64 * MIB
        listener = self.listener()
        relay = self.start(listener)
        client, server = self.pair(relay, listener)
        sent_up = Task(send_pattern, client, 11, size)
        sent_down = Task(send_pattern, server, 12, size)
        received_up = Task(receive_digest, server)
        received_down = receive_digest(client)
        self.assertEqual(received_down, (size, sent_down.result()))
        self.assertEqual(received_up.result(), (size, sent_up.result()))
        client.close()
        server.close()
        record, = relay.wait_ends(1)
        self.assertEqual((record["in_bytes"], record["out_bytes"]), (size, size))
        self.assertEqual(record["recording"], "complete")
        stem = os.path.join(relay.directory, record["id"])
        self.assertEqual(file_digest(stem + ".in"), sent_up.result())
        self.assertEqual(file_digest(stem + ".out"), sent_down.result())


class ManySessions(EndToEnd):
    def test_500_sessions_at_once(self):
        # Four descriptors a session in the relay and two here.
        count = min(500, (DESCRIPTORS - 100) // 4)

        def answers(connection):
            seed, = struct.unpack(">I", receive_exactly(connection, 4))
            down = payload(100_000 + seed, 20_000 + seed)
            sending = Task(send_chunks, connection, down, seed, 8192)
            up = receive_all(connection)
            if digest(up) != digest(payload(seed, 15_000 + seed)):
                raise AssertionError(f"session {seed} got the bytes of another, or not all")
            sending.result()

        server = self.serve(ScriptedServer(answers))
        relay = self.start(server)
        clients = [self.client(relay) for _ in range(count)]
        # All are there before any moves: these are really `count` sessions at once.
        wait_until(lambda: server.accepted >= count, 60, "all sessions to reach the server")
        names = [name_of(client) for client in clients]

        def talk(number):
            client = clients[number]
            sending = Task(lambda: (client.sendall(struct.pack(">I", number)),
                                    send_chunks(client, payload(number, 15_000 + number), number, 8192)))
            down = receive_all(client)
            sending.result()
            return digest(down)

        talking = [Task(talk, number) for number in range(count)]
        for number, task in enumerate(talking):
            self.assertEqual(task.result(), digest(payload(100_000 + number, 20_000 + number)), f"session {number}")
        for client in clients:
            client.close()
        records = {record["client"]: record for record in relay.wait_ends(count)}
        self.assertEqual(len(records), count)
        for number, name in enumerate(names):
            record = records[name]
            self.assertEqual(record["recording"], "complete")
            self.assertEqual(digest(relay.recording(record, "in")),
                             digest(struct.pack(">I", number) + payload(number, 15_000 + number)))
            self.assertEqual(digest(relay.recording(record, "out")),
                             digest(payload(100_000 + number, 20_000 + number)))

    def test_3000_short_sessions_leave_nothing_behind(self):
        server = self.serve(EchoServer())
        relay = self.start(server)

        def sessions(count, workers=16):
            def work(worker):
                for number in range(worker, count, workers):
                    self.exchange(relay.address, b"session %d\r\n" % number)
            all_results([Task(work, worker) for worker in range(workers)])

        def settled(count):
            relay.wait_ends(count, 60)
            # Closing files may follow the end record.
            wait_until(lambda: relay.descriptors() <= before, what="the descriptors to be closed")
            return relay.resident_bytes()

        # Buffers are touched for the first time in the warm-up, which bulk needs for all of them.
        before = relay.descriptors() + 8
        with connect(relay.address) as client:
            sending = Task(send_pattern, client, 1, 64 * MIB)
            receive_digest(client)
            sending.result()
        sessions(600)
        warm = settled(601)
        sessions(3000)
        after = settled(3601)
        self.assertLess(after - warm, 4 * MIB, "memory grows with the number of sessions")
        records = relay.records()
        self.assertEqual(len({record["id"] for record in records}), 3601)
        self.assertEqual(len(records), 2 * 3601)


class Ends(EndToEnd):
    def test_client_is_done_and_the_server_still_answers(self):
        listener = self.listener()
        relay = self.start(listener)
        client, server = self.pair(relay, listener)
        client.sendall(b"request\r\n")
        client.shutdown(socket.SHUT_WR)
        self.assertEqual(receive_all(server), b"request\r\n")
        answer = payload(21, MIB)
        sending = Task(send_chunks, server, answer, 21)
        self.assertTrue(receive_all(client) == answer, "the answer differs")
        sending.result()
        client.close()
        server.close()
        record, = relay.wait_ends(1)
        self.assertEqual((record["reason"], record["client_close"], record["server_close"]),
                         ("client-eof", "clean", "clean"))
        self.assertTrue(relay.recording(record, "out") == answer)

    def test_server_is_done_and_the_client_still_sends(self):
        listener = self.listener()
        relay = self.start(listener)
        client, server = self.pair(relay, listener)
        server.sendall(b"bye\r\n")
        server.shutdown(socket.SHUT_WR)
        self.assertEqual(receive_all(client), b"bye\r\n")
        rest = payload(22, MIB)
        sending = Task(send_chunks, client, rest, 22)
        self.assertTrue(receive_all(server) == rest, "what came after the server's end differs")
        sending.result()
        client.close()
        server.close()
        record, = relay.wait_ends(1)
        self.assertEqual((record["reason"], record["client_close"], record["server_close"]),
                         ("server-eof", "clean", "clean"))
        self.assertTrue(relay.recording(record, "in") == rest)

    def test_session_without_a_byte(self):
        listener = self.listener()
        relay = self.start(listener)
        client, server = self.pair(relay, listener)
        client.close()
        self.assertEqual(receive_all(server), b"")
        server.close()
        record, = relay.wait_ends(1)
        self.assertEqual((record["reason"], record["in_bytes"], record["out_bytes"], record["recording"]),
                         ("client-eof", 0, 0, "complete"))
        self.assertEqual((relay.recording(record, "in"), relay.recording(record, "out")), (b"", b""))

    def _reset(self, who):
        listener = self.listener()
        relay = self.start(listener)
        client, server = self.pair(relay, listener)
        sender, receiver = (client, server) if who == "client" else (server, client)
        data = payload(23, 300_000)
        # A RST throws away what the sender's own kernel still holds, so first wait until the relay's has
        # all; from there on nothing may be lost. The receiver does not read before the RST is sent, so
        # that the relay still holds part of it when that arrives.
        sending = Task(sender.sendall, data)
        sending.result()
        wait_until(lambda: unacknowledged(sender) == 0, what="the relay to hold everything")
        reset(sender)
        got, _ = receive_until_end(receiver)
        self.assertEqual(len(got), len(data))
        self.assertTrue(got == data, "the bytes before the reset differ")
        receiver.close()
        record, = relay.wait_ends(1)
        self.assertEqual(record["reason"], who + "-reset")
        self.assertEqual(record[who + "_close"], "reset")
        direction = "in" if who == "client" else "out"
        self.assertEqual(record[direction + "_bytes"], len(data))
        self.assertTrue(relay.recording(record, direction) == data)

    def test_client_resets(self):
        self._reset("client")

    def test_server_resets(self):
        self._reset("server")

    def test_reset_right_behind_bytes(self):
        # A multishot receive that takes the bytes may not hear of the reset. The server neither sends nor ends by itself.
        listener = self.listener()
        for options in ((), ("--only", "192.0.2.1")):
            with self.subTest(options=options):
                relay = self.start(listener, *options)
                servers = []
                for number in range(50):
                    client, server = self.pair(relay, listener)
                    client.sendall(b"before\n")
                    if number % 2:
                        receive_exactly(server, 7)
                        client.sendall(b"again\n")
                    reset(client)
                    servers.append((server, 6 if number % 2 else 7))
                for server, count in servers:
                    self.assertEqual(len(receive_all(server)), count)
                    server.close()
                self.assertEqual({record["client_close"] for record in relay.wait_ends(50)}, {"reset"})

    def test_reset_of_a_silent_session_reaches_the_other_side(self):
        for who in ("client", "server"):
            with self.subTest(who=who):
                listener = self.listener()
                relay = self.start(listener)
                client, server = self.pair(relay, listener)
                client.sendall(b"x")
                self.assertEqual(receive_exactly(server, 1), b"x")
                resetting, other = (client, server) if who == "client" else (server, client)
                reset(resetting)
                self.assertEqual(receive_until_end(other)[0], b"")
                other.close()
                record, = relay.wait_ends(1)
                self.assertEqual(record["reason"], who + "-reset")

    def test_reset_while_the_other_direction_is_stalled(self):
        # The client neither reads nor stays: the server, blocked in sending, must not stay so.
        listener = self.listener()
        relay = self.start(listener)
        client, server = self.pair(relay, listener, receive_buffer=16384)
        progress = [0]
        sending = Task(send_pattern, server, 1, 200 * MIB, progress)
        wait_stalled(lambda: progress[0])
        reset(client)
        try:
            sending.result()  # swallowed
        except OSError:
            pass  # or cut off
        self.assertEqual(receive_until_end(server)[0], b"")
        server.close()
        record, = relay.wait_ends(1)
        self.assertEqual((record["reason"], record["client_close"]), ("client-reset", "reset"))
        # Nothing that came after the end was relayed, nor is it in the recording.
        self.assertLess(record["out_bytes"], 200 * MIB)
        self.assertEqual(len(relay.recording(record, "out")), record["out_bytes"])

    def test_server_that_accepts_and_closes_at_once(self):
        server = self.serve(ScriptedServer(lambda connection: None))
        relay = self.start(server)
        for _ in range(20):
            with connect(relay.address) as client:
                self.assertEqual(receive_until_end(client)[0], b"")
        for record in relay.wait_ends(20):
            self.assertEqual((record["reason"], record["in_bytes"], record["out_bytes"]), ("server-eof", 0, 0))
        # Clients which talk to it all the same: its kernel answers with a RST, at any moment.
        for _ in range(20):
            with connect(relay.address) as client:
                try:
                    client.sendall(b"a" * 100_000)
                except OSError:
                    pass
                receive_until_end(client)
        for record in relay.wait_ends(40)[20:]:
            self.assertIn(record["reason"], ("server-eof", "server-reset", "client-eof"))
        self.assertIsNone(relay.process.poll())

    def test_half_open_to_a_server_that_is_gone(self):
        # The server has closed both ways, which the relay learns only from the RST to what it sends on.
        listener = self.listener()
        relay = self.start(listener)
        client, server = self.pair(relay, listener)
        server.close()
        self.assertEqual(receive_all(client), b"")

        def send_on():
            try:
                client.sendall(b"anybody there?\r\n")
                return False
            except OSError:
                return True
        wait_until(send_on, what="the client to hear that nobody listens")
        client.close()
        record, = relay.wait_ends(1)
        self.assertEqual(record["reason"], "server-eof")


class FailedConnects(EndToEnd):
    def test_refused(self):
        holder = socket.socket()
        self.addCleanup(holder.close)
        holder.bind(("127.0.0.1", 0))  # bound but not listening: refuses, and nobody else gets the port
        port = holder.getsockname()[1]
        relay = self.start(f"127.0.0.1:{port}")
        for _ in range(10):
            client = self.client(relay)
            self.assertEqual(receive_until_end(client)[0], b"")
            client.close()
        for record in relay.wait_ends(10):
            self.assertEqual((record["reason"], record["in_bytes"], record["out_bytes"]), ("connect-failed", 0, 0))
        # The server comes up: the next session reaches it.
        holder.close()
        server = self.serve(EchoServer(address=("127.0.0.1", port)))
        self.exchange(relay.address)
        self.assertEqual(relay.wait_ends(11)[10]["reason"], "client-eof")
        self.assertEqual(server.accepted, 1)

    def test_refused_with_bytes_already_sent(self):
        relay = self.start(f"127.0.0.1:{self.refused_port()}")
        client = self.client(relay)
        try:
            client.sendall(b"early\r\n")
        except OSError:
            pass
        receive_until_end(client)
        client.close()
        record, = relay.wait_ends(1)
        self.assertEqual(record["reason"], "connect-failed")

    def test_missing_unix_server(self):
        relay = self.start("unix:/nonexistent/server.sock")
        receive_until_end(self.client(relay))
        self.assertEqual(relay.wait_ends(1)[0]["reason"], "connect-failed")

    def test_timeout(self):
        # A listener whose backlog is full drops the SYN: nothing on loopback is quieter than that.
        listener = self.listener(backlog=0)
        waiting = []
        for _ in range(16):
            sock = socket.socket()
            sock.settimeout(0.5)
            self.addCleanup(sock.close)
            try:
                sock.connect(("127.0.0.1", listener.port))
            except socket.timeout:
                break
            except OSError as error:
                self.skipTest(f"a full backlog does not swallow connections here: {error}")
            waiting.append(sock)
        else:
            self.skipTest("a backlog cannot be filled here")
        relay = self.start(listener, "--connect-timeout", "1s")
        client = self.client(relay)
        self.assertEqual(receive_until_end(client)[0], b"")
        record, = relay.wait_ends(1)
        self.assertEqual(record["reason"], "connect-failed")
        # It did wait: a refusal would have come at once.
        self.assertGreater(record["seconds"], 0.9)


class Backpressure(EndToEnd):
    TOTAL = 200 * MIB
    BOUND = 100 * MIB

    def _stalled_reader(self, sender, receiver, relay, bystander):
        """The receiver reads only after the sender is blocked for good; all bytes must arrive then."""
        progress = [0]
        sending = Task(send_pattern, sender, 31, self.TOTAL, progress)
        accepted = wait_stalled(lambda: progress[0])
        # What the kernel of either leg may hold, and the relay's share, is far below this.
        self.assertLess(accepted, self.BOUND, "the relay takes more than its peer does")
        self.assertLess(relay.resident_bytes(), self.BOUND)
        for _ in range(20):
            bystander()
        self.assertLess(relay.resident_bytes(), self.BOUND)
        received = receive_digest(receiver)
        self.assertEqual(received[0], self.TOTAL)
        self.assertEqual(received[1], sending.result())
        self.assertLess(relay.resident_bytes(), self.BOUND)

    def _stall_or_echo(self, **keywords):
        """A server whose clients say with their first byte whether the test itself serves them."""
        given = []

        def script(connection):
            if receive_exactly(connection, 1) == b"e":
                connection.sendall(b"e")
                buffer = receive_all(connection)
                connection.sendall(buffer)
            else:
                done = threading.Event()
                given.append((connection, done))
                done.wait(4 * DEADLINE)
        server = self.serve(ScriptedServer(script, receive_buffer=65536, **keywords))
        # Also when the test fails half-way: the server's end waits for its scripts.
        self.addCleanup(lambda: [done.set() for _, done in given])
        return server, given

    def _bystander(self, address):
        data = payload(32, 50_000)
        with connect(address) as client:
            client.sendall(b"e" + data)
            client.shutdown(socket.SHUT_WR)
            self.assertTrue(receive_all(client) == b"e" + data)

    def test_server_that_stops_reading(self):
        server, given = self._stall_or_echo()
        relay = self.start(server)
        client = self.client(relay, send_buffer=65536)
        name = name_of(client)
        client.sendall(b"s")
        connection, done = wait_until(lambda: given and given[0], what="the session")
        self._stalled_reader(client, connection, relay, lambda: self._bystander(relay.address))
        done.set()
        client.close()
        record = self.end_of(relay, name)
        self.assertEqual((record["in_bytes"], record["recording"]), (self.TOTAL + 1, "complete"))

    def test_client_that_stops_reading(self):
        server, given = self._stall_or_echo()
        relay = self.start(server)
        client = self.client(relay, receive_buffer=65536)
        name = name_of(client)
        client.sendall(b"s")
        connection, done = wait_until(lambda: given and given[0], what="the session")
        self._stalled_reader(connection, client, relay, lambda: self._bystander(relay.address))
        done.set()
        client.close()
        record = self.end_of(relay, name)
        self.assertEqual((record["out_bytes"], record["recording"]), (self.TOTAL, "complete"))
        stem = os.path.join(relay.directory, record["id"])
        self.assertEqual(file_digest(stem + ".out"), pattern_digest(31, self.TOTAL))

    def test_64_stalled_readers(self):
        # Together they want more than all receive buffers of the relay: none may keep what others need. Unix
        # sockets, since the kernel's own buffers for these are small: it is the relay that has to hold back.
        with tempfile.TemporaryDirectory(prefix="rawlog-", dir="/tmp") as directory:
            server, given = self._stall_or_echo(address=f"unix:{directory}/server.sock")
            relay = self.start(server, listen=(f"unix:{directory}/in.sock", "127.0.0.1:0"))
            sessions = []
            for number in range(64):
                client = self.client(relay.addresses[0], send_buffer=65536)
                client.sendall(b"s")
                connection, done = wait_until(lambda: len(given) > number and given[number], what="the session")
                sessions.append((client, connection, done))
            size = 4 * MIB
            progress = [[0] for _ in sessions]
            # Half of them stall towards the server, half towards the client.
            sending = [Task(send_pattern, client if number % 2 else connection, number, size, progress[number])
                       for number, (client, connection, _) in enumerate(sessions)]
            accepted = wait_stalled(lambda: sum(count for count, in progress))
            self.assertFalse(any(task.done for task in sending), "a session was not held back")
            self.assertLess(accepted, len(sessions) * 2 * MIB)
            self.assertLess(relay.resident_bytes(), self.BOUND)
            for address in relay.addresses * 15:
                self._bystander(address)
            receiving = [Task(receive_digest, connection if number % 2 else client)
                         for number, (client, connection, _) in enumerate(sessions)]
            for number, (task, sender) in enumerate(zip(receiving, sending)):
                self.assertEqual(task.result(), (size, sender.result()), f"session {number}")
            for client, _, done in sessions:
                done.set()
                client.close()
            self.assertLess(relay.resident_bytes(), self.BOUND)
            relay.wait_ends(64 + 30)
            self.assertEqual(relay.terminate(), 0)


    def test_many_stalled_readers(self):
        # Each keeps a little, all together not much.
        def flood(connection):
            try:
                while True:
                    connection.sendall(bytes(MIB))
            except OSError:
                pass
        server = self.serve(ScriptedServer(flood))
        relay = self.start(server, "--only", "192.0.2.1")
        clients = [self.client(relay) for _ in range(150)]
        sizes = []

        def settled():
            sizes.append(relay.resident_bytes())
            return len(sizes) > 20 and sizes[-1] - sizes[-10] < 100_000
        wait_until(settled, 60, "the relay's memory to stay as it is")
        self.assertLess(relay.resident_bytes(), self.BOUND)
        for client in clients:
            client.close()


class UrgentData(EndToEnd):
    def test_urgent_data_stays_in_line(self):
        listener = self.listener()
        relay = self.start(listener)
        client, server = self.pair(relay, listener)
        for sender, receiver in ((client, server), (server, client)):
            sender.sendall(b"before ")
            sender.send(b"!", socket.MSG_OOB)
            sender.sendall(b" after")
            self.assertEqual(receive_exactly(receiver, 14), b"before ! after")
        client.close()
        server.close()
        record, = relay.wait_ends(1)
        self.assertEqual(relay.recording(record, "in"), b"before ! after")
        self.assertEqual(relay.recording(record, "out"), b"before ! after")


class UnixSockets(EndToEnd):
    def setUp(self):
        # Not below a long TMPDIR: a socket's path has 107 bytes at most.
        self.directory = tempfile.mkdtemp(prefix="rawlog-", dir="/tmp")
        self.addCleanup(shutil.rmtree, self.directory)
        self.path = os.path.join(self.directory, "in.sock")

    def test_both_sides(self):
        server = self.serve(EchoServer(address=f"unix:{self.directory}/server.sock"))
        relay = self.start(server, listen=(f"unix:{self.path}",))
        self.assertEqual(relay.addresses, [f"unix:{self.path}"])
        self.exchange(f"unix:{self.path}", payload(41, 100_000))
        record, = relay.wait_ends(1)
        self.assertEqual(record["reason"], "client-eof")
        self.assertEqual(record["server"], server.address)
        self.assertTrue(record["client"].startswith("unix:"), record["client"])
        self.assertEqual(relay.recording(record, "in"), payload(41, 100_000))
        self.assertEqual(relay.recording(record, "out"), payload(41, 100_000))
        self.assertEqual(relay.terminate(), 0)
        self.assertFalse(os.path.lexists(self.path), "the socket file is left behind")

    def test_client_with_a_name(self):
        server = self.serve(EchoServer())
        relay = self.start(server, listen=(f"unix:{self.path}",))
        name = f"{self.directory}/client.sock"
        with connect(f"unix:{self.path}", source=name) as client:
            client.shutdown(socket.SHUT_WR)
            receive_all(client)
        self.assertTrue(relay.wait_ends(1)[0]["client"].startswith("unix:/"))

    def test_tcp_clients_of_a_unix_server(self):
        server = self.serve(EchoServer(address=f"unix:{self.directory}/server.sock"))
        relay = self.start(server)
        self.exchange(relay.address)
        self.assertEqual(relay.wait_ends(1)[0]["server"], server.address)

    def test_half_close(self):
        listener = self.listener(address=f"unix:{self.directory}/server.sock")
        relay = self.start(listener, listen=(f"unix:{self.path}",))
        client, server = self.pair(f"unix:{self.path}", listener)
        client.sendall(b"request")
        client.shutdown(socket.SHUT_WR)
        self.assertEqual(receive_all(server), b"request")
        sending = Task(send_chunks, server, payload(42, MIB), 42)
        self.assertTrue(receive_all(client) == payload(42, MIB))
        sending.result()
        client.close()
        server.close()
        self.assertEqual(relay.wait_ends(1)[0]["reason"], "client-eof")

    def test_stale_socket_is_replaced(self):
        with socket.socket(socket.AF_UNIX) as stale:
            stale.bind(self.path)
            stale.listen()
        server = self.serve(EchoServer())
        relay = self.start(server, listen=(f"unix:{self.path}",))
        self.exchange(f"unix:{self.path}")
        self.assertEqual(relay.terminate(), 0)
        self.assertFalse(os.path.lexists(self.path))

    def test_socket_of_a_killed_relay_is_replaced(self):
        server = self.serve(EchoServer())
        first = self.start(server, listen=(f"unix:{self.path}",))
        first.signal(signal.SIGKILL)
        first.wait()
        # The kernel lets go of a ring, and of the listening socket that it holds, a little after the process.
        self.wait_refused(f"unix:{self.path}")
        self.assertTrue(os.path.lexists(self.path))
        self.start(server, listen=(f"unix:{self.path}",))
        self.exchange(f"unix:{self.path}")

    def test_live_socket_is_refused_and_untouched(self):
        server = self.serve(EchoServer())
        live = self.start(server, listen=(f"unix:{self.path}",))
        other = os.path.join(self.directory, "recordings")
        os.mkdir(other)
        code, _, errors = run("--listen", f"unix:{self.path}", "--connect", server.address, "--dir", other)
        self.assertEqual(code, 69)
        self.assertEqual(len(errors.splitlines()), 1, errors)
        self.assertIn(self.path, errors)
        self.assertEqual(os.listdir(other), [])
        self.exchange(f"unix:{self.path}")
        self.assertIsNone(live.process.poll())

    def test_file_that_is_no_socket_is_refused_and_untouched(self):
        with open(self.path, "wb") as file:
            file.write(b"precious")
        other = os.path.join(self.directory, "recordings")
        os.mkdir(other)
        code, _, errors = run("--listen", f"unix:{self.path}", "--connect", "127.0.0.1:1", "--dir", other)
        self.assertIn(code, (64, 69, 73))
        self.assertEqual(len(errors.splitlines()), 1, errors)
        self.assertIn(self.path, errors)
        with open(self.path, "rb") as file:
            self.assertEqual(file.read(), b"precious")

    def test_socket_file_goes_when_sessions_drain(self):
        server = self.serve(EchoServer())
        relay = self.start(server, listen=(f"unix:{self.path}",))
        with connect(f"unix:{self.path}") as client:
            client.sendall(b"a")
            self.assertEqual(receive_exactly(client, 1), b"a")
            relay.signal(signal.SIGTERM)
            self.wait_refused(f"unix:{self.path}")
            client.sendall(b"b")
            self.assertEqual(receive_exactly(client, 1), b"b")
        self.assertEqual(relay.wait(), 0)
        self.assertFalse(os.path.lexists(self.path))


class Listening(EndToEnd):
    @unittest.skipUnless(has_ipv6(), "no IPv6 here")
    def test_ipv6(self):
        server = self.serve(EchoServer(address=("::1", 0)))
        relay = self.start(server, listen=("[::1]:0",))
        self.assertRegex(relay.addresses[0], r"^\[::1\]:[1-9][0-9]*$")
        with connect(relay.addresses[0]) as client:
            name = name_of(client)
            client.sendall(b"six")
            self.assertEqual(receive_exactly(client, 3), b"six")
        record = self.end_of(relay, name)
        self.assertEqual((record["client"], record["server"]), (name, server.address))

    def test_every_address(self):
        server = self.serve(EchoServer())
        relay = self.start(server, listen=(":0",))
        families = ["127.0.0.1"] + (["::1"] if has_ipv6() else [])
        for host in families:
            with self.subTest(host=host), connect((host, relay.port)) as client:
                name = name_of(client)
                client.sendall(b"x")
                self.assertEqual(receive_exactly(client, 1), b"x")
                client.close()
                # An IPv4 client is spelt as IPv4, also when one socket serves both families.
                self.end_of(relay, name)
        self.assertNotIn("::ffff:", str(relay.records()))

    def test_every_address_with_ip_in_name(self):
        server = self.serve(EchoServer())
        relay = self.start(server, "-I", listen=(":0",))
        self.exchange(relay.address)
        record, = relay.wait_ends(1)
        self.assertTrue(record["id"].startswith("127.0.0.1-"), record["id"])

    def test_host_names(self):
        server = self.serve(EchoServer())
        relay = self.start(f"localhost:{server.port}", listen=("localhost:0",))
        for address in list(relay.addresses):
            self.assertRegex(address, r"^(127\.\d+\.\d+\.\d+|\[::1\]):[1-9][0-9]*$")
            self.exchange(address)
        for record in relay.wait_ends(len(relay.addresses)):
            # A name is resolved; where it has several addresses the first that answers is taken.
            self.assertEqual(record["server"], server.address)

    def test_connect_without_host_is_localhost(self):
        server = self.serve(EchoServer())
        relay = self.start(f":{server.port}")
        self.exchange(relay.address)
        self.assertEqual(relay.wait_ends(1)[0]["server"], server.address)

    def test_inherited_descriptor(self):
        server = self.serve(EchoServer())
        with socket.socket() as listening:
            listening.bind(("127.0.0.1", 0))
            listening.listen(100)
            number = listening.fileno()
            relay = self.start(server, listen=(f"fd:{number}",), pass_fds=(number,))
            address = listening.getsockname()
        self.exchange(address)
        record, = relay.wait_ends(1)
        self.assertEqual(record["reason"], "client-eof")
        self.assertRegex(record["client"], r"^127\.0\.0\.1:\d+$")

    def test_two_listeners(self):
        server = self.serve(EchoServer())
        relay = self.start(server, listen=("127.0.0.1:0", "127.0.0.2:0"))
        self.assertEqual(len(set(relay.addresses)), 2)
        for address in relay.addresses:
            self.exchange(address)
        self.assertEqual(len(relay.wait_ends(2)), 2)
        self.assertEqual(relay.terminate(), 0)
        for address in relay.addresses:
            self.wait_refused(address)

    def test_fewer_places_than_listeners(self):
        # Every listener is served, whichever clients come to.
        server = self.serve(EchoServer())
        relay = self.start(server, "--max-sessions", "1", listen=("127.0.0.1:0", "127.0.0.2:0"))
        for address in [*reversed(relay.addresses), *relay.addresses]:
            self.exchange(address)
        self.assertEqual(len(relay.wait_ends(4)), 4)

    def test_burst_beyond_the_descriptors(self):
        # A full backlog must not take the descriptors of the sessions and recordings that come first.
        server = self.serve(EchoServer())
        relay = self.start(server, preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (400, 400)))
        relay.signal(signal.SIGSTOP)
        clients = [self.client(relay) for _ in range(300)]
        relay.signal(signal.SIGCONT)
        for number, client in enumerate(clients):
            data = payload(number, 100)
            client.sendall(data)
            self.assertTrue(receive_exactly(client, len(data)) == data)
            client.close()
        for record in relay.wait_ends(300):
            self.assertEqual(record["recording"], "complete")

    def test_tcp_and_unix_listener_together(self):
        with tempfile.TemporaryDirectory(prefix="rawlog-", dir="/tmp") as directory:
            path = os.path.join(directory, "in.sock")
            server = self.serve(EchoServer())
            relay = self.start(server, listen=(f"unix:{path}", "127.0.0.1:0"))
            self.assertEqual(relay.addresses[0], f"unix:{path}")
            for address in relay.addresses:
                self.exchange(address)
            self.assertEqual(len({r["listener"] for r in relay.wait_ends(2)}), 2)
            self.assertEqual(relay.terminate(), 0)


class Limits(EndToEnd):
    def test_sessions_beyond_the_maximum_wait(self):
        server = self.serve(EchoServer())
        relay = self.start(server, "--max-sessions", 5)
        clients = []
        for number in range(20):
            client = self.client(relay)
            client.sendall(b"%02d" % number)
            clients.append(client)
        served = []

        def collect(seconds=0.0):
            for number, client in enumerate(clients):
                if number in served:
                    continue
                client.settimeout(max(seconds, 0.001))
                try:
                    data = client.recv(2)
                except socket.timeout:
                    continue
                finally:
                    client.settimeout(DEADLINE)
                self.assertEqual(data, b"%02d" % number)
                served.append(number)
            return len(served)

        wait_until(lambda: collect() >= 5, what="the first five")
        collect(0.05)  # time for a sixth to appear
        self.assertEqual(len(served), 5)
        self.assertEqual(server.accepted, 5)
        closed = 0
        while closed < 20:
            wait_until(lambda: collect() > closed, what="the next in the queue")
            self.assertLessEqual(server.active, 5)
            clients[served[closed]].close()
            closed += 1
        self.assertEqual(len(relay.wait_ends(20)), 20)

    def test_idle_timeout(self):
        listener = self.listener()
        relay = self.start(listener, "--idle-timeout", "2s")
        silent, silent_server = self.pair(relay, listener)
        busy, busy_server = self.pair(relay, listener)
        name, busy_name = name_of(silent), name_of(busy)
        silent.sendall(b"then nothing")
        self.assertEqual(receive_exactly(silent_server, 12), b"then nothing")
        ended = Task(lambda: (receive_until_end(silent), receive_until_end(silent_server)))
        ticks = 0
        # Until the silent one has ended, and well beyond: one direction that moves keeps the other session.
        while not ended.done or ticks < 30:
            busy_server.sendall(b".")
            self.assertEqual(receive_exactly(busy, 1), b".")
            ticks += 1
            self.assertLess(ticks, 600, "the silent session does not end")
            time.sleep(0.1)
        ended.result()
        record = self.end_of(relay, name)
        self.assertEqual((record["reason"], record["in_bytes"]), ("idle", 12))
        self.assertGreater(record["seconds"], 1.9)
        self.finish(busy, busy_server)
        self.assertEqual(self.end_of(relay, busy_name)["reason"], "client-eof")

    def test_timeouts_that_are_off(self):
        server = self.serve(EchoServer())
        relay = self.start(server, "--idle-timeout", "0s", "--connect-timeout", "0s")
        with connect(relay.address) as client:
            client.sendall(b"a")
            self.assertEqual(receive_exactly(client, 1), b"a")
            time.sleep(0.5)
            client.sendall(b"b")
            self.assertEqual(receive_exactly(client, 1), b"b")
        self.assertEqual(relay.wait_ends(1)[0]["reason"], "client-eof")

    def test_few_descriptors(self):
        server = self.serve(EchoServer())
        relay = self.start(server, preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64)))
        wait_until(lambda: any("fit" in line for line in relay.lines), what="the warning that few sessions fit")
        count = 100
        clients = [self.client(relay) for _ in range(count)]

        def talk(number):
            client = clients[number]
            data = payload(number, 5000)
            client.sendall(data)
            self.assertTrue(receive_exactly(client, len(data)) == data)
            client.shutdown(socket.SHUT_WR)
            self.assertEqual(receive_all(client), b"")
            client.close()
        all_results([Task(talk, number) for number in range(count)])
        for record in relay.wait_ends(count):
            # "Fit" means with their recordings.
            self.assertEqual(record["recording"], "complete")
        self.assertLessEqual(relay.descriptors(), 64)
        self.assertEqual(relay.terminate(), 0)

    def test_more_clients_than_places_for_a_while(self):
        # Sessions which have ended, but whose files are still being written, must not keep the queue from moving.
        server = self.serve(EchoServer())
        relay = self.start(server, "--max-sessions", 3)
        for _ in range(5):
            def talk(client):
                client.sendall(b"x" * 5000)
                receive_exactly(client, 5000)
                client.shutdown(socket.SHUT_WR)
                receive_all(client)
                client.close()
            all_results([Task(talk, client) for client in [self.client(relay) for _ in range(100)]])
        self.assertEqual({record["reason"] for record in relay.wait_ends(500)}, {"client-eof"})

    def test_soft_descriptor_limit_is_raised(self):
        server = self.serve(EchoServer())
        hard = min(DESCRIPTORS, 4096)
        relay = self.start(server, preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (64, hard)))
        with open(f"/proc/{relay.pid}/limits", encoding="ascii") as file:
            line, = [line for line in file if line.startswith("Max open files")]
        self.assertEqual(line.split()[3:5], [str(hard), str(hard)])


class Signals(EndToEnd):
    def _alive(self, client, server, data=b"ping"):
        client.sendall(data)
        self.assertEqual(receive_exactly(server, len(data)), data)
        server.sendall(data)
        self.assertEqual(receive_exactly(client, len(data)), data)

    def _drain(self, number):
        listener = self.listener()
        relay = self.start(listener)
        client, server = self.pair(relay, listener)
        name = name_of(client)
        self._alive(client, server)
        relay.signal(number)
        self.wait_refused(relay.address)
        self.assertIsNone(relay.process.poll())
        self._alive(client, server, payload(51, 50_000))
        client.close()
        self.assertEqual(receive_all(server), b"")
        server.close()
        self.assertEqual(relay.wait(), 0)
        record = self.end_of(relay, name)
        self.assertEqual((record["reason"], record["recording"]), ("client-eof", "complete"))
        self.assertEqual(relay.recording(record, "in"), b"ping" + payload(51, 50_000))

    def test_sigterm_lets_sessions_end(self):
        self._drain(signal.SIGTERM)

    def test_sigint_lets_sessions_end(self):
        self._drain(signal.SIGINT)

    def _drain_is_over(self, number):
        listener = self.listener()
        relay = self.start(listener, "--drain", "1s")
        client, server = self.pair(relay, listener)
        name = name_of(client)
        self._alive(client, server)
        relay.signal(number)
        self.assertEqual(receive_until_end(client)[0], b"")
        self.assertEqual(receive_until_end(server)[0], b"")
        self.assertEqual(relay.wait(), 0)
        record = self.end_of(relay, name)
        self.assertEqual(record["reason"], "drain")
        self.assertEqual((relay.recording(record, "in"), relay.recording(record, "out")), (b"ping", b"ping"))

    def test_sessions_that_outlast_the_drain_are_ended(self):
        self._drain_is_over(signal.SIGTERM)

    def test_sessions_that_outlast_the_drain_are_ended_after_sigint(self):
        self._drain_is_over(signal.SIGINT)

    def test_stalled_session_does_not_hold_up_the_end(self):
        listener = self.listener(receive_buffer=16384)
        relay = self.start(listener, "--drain", "1s")
        client, server = self.pair(relay, listener, send_buffer=16384)
        progress = [0]
        sending = Task(send_pattern, client, 1, 200 * MIB, progress)
        wait_stalled(lambda: progress[0])
        relay.signal(signal.SIGTERM)
        with self.assertRaises(OSError):
            sending.result()
        self.assertEqual(relay.wait(), 0)
        server.close()
        self.assertEqual(relay.records("end")[0]["reason"], "drain")

    def test_second_signal_ends_at_once(self):
        for first, second in ((signal.SIGTERM, signal.SIGTERM), (signal.SIGINT, signal.SIGTERM),
                              (signal.SIGINT, signal.SIGINT)):
            with self.subTest(first=first, second=second):
                listener = self.listener()
                relay = self.start(listener, "--drain", "10m")
                client, server = self.pair(relay, listener)
                self._alive(client, server)
                relay.signal(first)
                self.wait_refused(relay.address)
                self.assertIsNone(relay.process.poll())
                relay.signal(second)
                # Far less than the drain; how the second one reports is left to the program.
                self.assertIn(relay.wait(30), (0, -second, 128 + second))
                receive_until_end(client)
                receive_until_end(server)

    def test_sigterm_without_sessions(self):
        relay = self.start("127.0.0.1:1", "--drain", "10m")
        self.assertEqual(relay.terminate(20), 0)
        self.assertEqual(relay.records(), [])

    def test_sigpipe_and_sighup_are_harmless(self):
        listener = self.listener()
        relay = self.start(f"localhost:{listener.port}")
        client, server = self.pair(relay, listener)
        for number in (signal.SIGPIPE, signal.SIGHUP) * 3:
            relay.signal(number)
            self._alive(client, server)
            other, other_server = self.pair(relay, listener)
            self._alive(other, other_server)
            self.finish(other, other_server)
        self.finish(client, server)
        for record in relay.wait_ends(7):
            self.assertEqual((record["reason"], record["recording"]), ("client-eof", "complete"))
        self.assertEqual(relay.terminate(), 0)

    def test_messages_that_nobody_reads(self):
        # Writing a message to a pipe whose reader is gone must not end the program.
        with tempfile.TemporaryDirectory(prefix="rawlog-", dir="/tmp") as directory:
            recordings, index, path = (os.path.join(directory, name) for name in ("recordings", "index", "in.sock"))
            os.mkdir(recordings)
            os.mkdir(index)
            reading, writing = os.pipe()
            process = subprocess.Popen(
                [PROGRAM, "--listen", f"unix:{path}", "--connect", f"127.0.0.1:{self.refused_port()}",
                 "--dir", recordings, "--index", index], stdin=subprocess.DEVNULL, stderr=writing)
            try:
                os.close(writing)
                with open(reading, "rb", buffering=0) as errors:
                    while b"listening on" not in errors.readline():
                        self.assertIsNone(process.poll())
                os.rmdir(recordings)  # so that every session is worth a message
                for _ in range(3):
                    with connect(f"unix:{path}") as client:
                        receive_until_end(client)
                process.terminate()
                self.assertEqual(process.wait(30), 0)
            finally:
                process.kill()
                process.wait()


if __name__ == "__main__":
    unittest.main()
