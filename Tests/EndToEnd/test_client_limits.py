"""--max-sessions-per-ip and --max-rate-per-ip: how much one client gets, and what the others notice."""

import unittest

from peers import EchoServer, EndToEnd, connect, receive_exactly
from relay import wait_until


class ClientLimits(EndToEnd):
    def setUp(self):
        self.server = EchoServer()
        self.addCleanup(self.server.close)

    def served(self, client):
        client.sendall(b"x")
        return receive_exactly(client, 1) == b"x"

    def refused(self, client):
        with client:
            try:
                return client.recv(1) == b""
            except ConnectionResetError:
                return True

    def test_sessions(self):
        relay = self.start(self.server, "--max-sessions-per-ip", "2", "--drain", "0")
        first, second = connect(relay.address), connect(relay.address)
        self.addCleanup(second.close)
        self.assertTrue(self.served(first) and self.served(second))
        for _ in range(20):
            self.assertTrue(self.refused(connect(relay.address)))
        # Somebody else is not concerned.
        with connect(relay.address, source=("127.0.0.2", 0)) as other:
            self.assertTrue(self.served(other))
        first.close()
        relay.wait_ends(2)
        with connect(relay.address) as third:
            self.assertTrue(self.served(third))
        wait_until(lambda: relay.stderr.count("refused"), what="a line about it")
        self.assertEqual(relay.terminate(), 0)
        said = [line for line in relay.lines if "refused" in line]
        self.assertLess(len(said), 20, said)
        self.assertTrue(all("--max-sessions-per-ip" in line and "'127.0.0.1'" in line for line in said), said)
        # They were no sessions.
        self.assertEqual(len(relay.records("start")), 4)

    def test_rate(self):
        relay = self.start(self.server, "--max-rate-per-ip", "3/m")
        for _ in range(3):
            with connect(relay.address) as client:
                self.assertTrue(self.served(client))
        self.assertTrue(self.refused(connect(relay.address)))
        with connect(relay.address, source=("127.0.0.2", 0)) as other:
            self.assertTrue(self.served(other))
        self.assertEqual(relay.terminate(), 0)
        self.assertIn("--max-rate-per-ip", relay.stderr)

    def test_behind_a_proxy_each_client_counts_for_itself(self):
        relay = self.start(self.server, "--max-sessions-per-ip", "1", "--proxy-from", "127.0.0.1")

        def client(address):
            sock = connect(relay.address)
            sock.sendall(f"PROXY TCP4 {address} 192.0.2.9 4000 143\r\n".encode())
            return sock

        with client("192.0.2.1") as first, client("192.0.2.2") as second:
            self.assertTrue(self.served(first) and self.served(second))
            self.assertTrue(self.refused(client("192.0.2.1")))
            (end,) = relay.wait_ends(1)
            self.assertEqual((end["reason"], end["client"]), ("limit", "192.0.2.1:4000"))
        relay.wait_ends(3)
        with client("192.0.2.1") as again:
            self.assertTrue(self.served(again))
        # Without a client in the header it is the proxy's own, which is not limited.
        for _ in range(3):
            sock = connect(relay.address)
            self.addCleanup(sock.close)
            sock.sendall(b"PROXY UNKNOWN\r\n")
            self.assertTrue(self.served(sock))


if __name__ == "__main__":
    unittest.main()
