"""replay: what a client sent is sent again, and the answers are compared."""

import contextlib
import tempfile
import unittest

import peers
from peers import EndToEnd, connect, receive_all, receive_exactly
from relay import run
from test_pcapng import IMAP, imap, speak


class Replay(EndToEnd):
    def record(self, *options, script=imap, speaker=speak):
        """One recorded session; the directory that has it."""
        server = self.serve(peers.ScriptedServer(script))
        relay = self.start(server.address, *options)
        speaker(relay.address)
        (record,) = relay.wait_ends(1)
        self.assertEqual(relay.terminate(), 0)
        return relay.directory, record

    def replay(self, directory, server, *options):
        return run("replay", directory, "--connect", server.address, *options)

    def heard(self, directory, *options, answers=IMAP):
        """Replays to a server that answers as in the recording: what it was sent."""
        received = []

        def script(connection):
            for said, expected in answers:
                connection.sendall(said)
                if expected:
                    # It may have seen enough.
                    with contextlib.suppress(AssertionError):
                        received.append(receive_exactly(connection, len(expected)))

        server = self.serve(peers.ScriptedServer(script))
        code, output, errors = self.replay(directory, server, "--speed", "0", *options)
        return code, output, errors, b"".join(received)

    def test_capture(self):
        directory, record = self.record("--layout", "pcapng", "--protocol", "imap", "--secrets", "keep")
        code, output, errors, received = self.heard(directory, "--session", record["id"], "--expect")
        self.assertEqual((code, errors), (0, ""), output)
        self.assertEqual(received, b"a LOGIN joe secret\r\nb LOGOUT\r\n")
        self.assertIn("4 lines answered as recorded", output)

    def test_other_layouts(self):
        for options in (("-t",), ("--layout", "merged")):
            directory, _ = self.record(*options)
            code, output, errors, received = self.heard(directory, "--expect")
            self.assertEqual((code, errors), (0, ""), output)
            self.assertEqual(received, b"a LOGIN joe secret\r\nb LOGOUT\r\n")

    def test_without_times(self):
        directory, _ = self.record()
        code, _, errors, _ = self.heard(directory)
        self.assertEqual(code, 65)
        self.assertIn("has no times", errors)

    def test_other_answer(self):
        """The first difference is shown, both ways, and ends it."""
        directory, _ = self.record("--layout", "merged")
        answers = [IMAP[0], (b"a NO \x1b[31m later\r\n", b"b LOGOUT\r\n"), IMAP[2]]
        code, output, _, received = self.heard(directory, "--expect", answers=answers)
        self.assertEqual(code, 1)
        self.assertEqual(received, b"a LOGIN joe secret\r\n")
        self.assertIn(r"answer 2: recorded 'a OK done\x0d\x0a', now 'a NO \x1b[31m later\x0d\x0a'", output)
        code, output, _, received = self.heard(directory, answers=answers)
        self.assertEqual((code, received), (0, b"a LOGIN joe secret\r\nb LOGOUT\r\n"))
        self.assertIn("3 lines answered as recorded, 1 otherwise", output)

    def test_credentials(self):
        directory, record = self.record("--layout", "pcapng", "--protocol", "imap")
        self.assertEqual(record["redacted"], 1)
        code, _, errors, received = self.heard(directory)
        self.assertEqual((code, received), (65, b""))
        self.assertIn("--password-file", errors)
        with tempfile.NamedTemporaryFile() as file:
            file.write(b"secret\nmore\n")
            file.flush()
            code, output, errors, received = self.heard(directory, "--expect", "--password-file", file.name)
        self.assertEqual((code, errors), (0, ""), output)
        self.assertEqual(received, b"a LOGIN joe secret\r\nb LOGOUT\r\n")

    def test_sasl(self):
        """AUTHENTICATE PLAIN: the user and the password, in base64."""
        response = b"AGpvZQBzZWNyZXQ=\r\n"
        said = [(b"* OK ready\r\n", b"a AUTHENTICATE PLAIN\r\n"), (b"+ \r\n", response), (b"a OK done\r\n", b"")]

        def script(connection):
            for answer, expected in said:
                connection.sendall(answer)
                if expected:
                    receive_exactly(connection, len(expected))

        def speaker(address):
            with connect(address) as client:
                for answer, command in said:
                    receive_exactly(client, len(answer))
                    client.sendall(command)
                receive_all(client)

        directory, record = self.record("--layout", "merged", "--protocol", "imap", script=script, speaker=speaker)
        self.assertEqual((record["redacted"], record["user"]), (1, "joe"))
        with tempfile.NamedTemporaryFile() as file:
            file.write(b"secret\n")
            file.flush()
            code, output, errors, received = self.heard(directory, "--password-file", file.name, "--expect",
                                                        answers=said)
        self.assertEqual((code, errors), (0, ""), output)
        self.assertTrue(received.endswith(response))

    def test_nobody_there(self):
        directory, _ = self.record("--layout", "merged")
        code, _, errors = run("replay", directory, "--connect", f"127.0.0.1:{self.refused_port()}")
        self.assertEqual((code, len(errors.splitlines())), (69, 1))

    def test_several_sessions(self):
        server = self.serve(peers.EchoServer())
        relay = self.start(server.address, "--layout", "pcapng")
        self.exchange(relay.address)
        self.exchange(relay.address)
        relay.wait_ends(2)
        self.assertEqual(relay.terminate(), 0)
        code, _, errors = run("replay", relay.directory, "--connect", server.address)
        self.assertEqual(code, 64)
        self.assertIn("--session", errors)

    def test_options(self):
        for options in ((), ("--connect", "x"), ("--connect", "127.0.0.1:1", "--speed", "fast"),
                        ("--connect", "127.0.0.1:1", "--session", "")):
            code, _, errors = run("replay", "/tmp", *options)
            self.assertEqual((code, len(errors.splitlines())), (64, 1), errors)


if __name__ == "__main__":
    unittest.main()
