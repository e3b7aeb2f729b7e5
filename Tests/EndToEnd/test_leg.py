"""`--leg back` in the place of lmtp_proxy_rawlog_dir and submission_relay_rawlog_dir: the recorder stands between a
real Dovecot and its target, and both record."""

import os
import re
import smtplib
import unittest

import dovecot
from dovecot import Dovecot, SmtpSink
from relay import Relay, wait_until
from test_coming_from_dovecot import STAMP, read, without_stamps

WHY_NOT = dovecot.why_unavailable()
GOODBYE = re.compile(rb"^221 [^\n]*\n\Z", re.MULTILINE)
BODY = "Subject: x\r\n\r\n" + "".join(f"line {number} of a message\r\n" for number in range(3000)) + "..\r\nend\r\n"


@unittest.skipIf(WHY_NOT, WHY_NOT)
class LegBack(unittest.TestCase):
    def theirs(self, server, count):
        """Dovecot's recordings: pairs of .in and .out, in order."""
        stems = wait_until(lambda: self._stems(server, count), what=f"{count} recordings of Dovecot")
        return [{kind: read(f"{stem}.{kind}") for kind in ("in", "out")} for stem in stems]

    @staticmethod
    def _stems(server, count):
        names = sorted(os.listdir(server.rawlog_directory))
        stems = [os.path.join(server.rawlog_directory, name[:-3]) for name in names if name.endswith(".in")]
        # A session is over when Dovecot has said so to its target.
        return stems if len(stems) == count and all(b"QUIT" in read(stem + ".out") for stem in stems) else None

    def compare(self, relay, server, count):
        theirs = self.theirs(server, count)
        ends = relay.wait_ends(count)
        ours = [{kind: read(os.path.join(relay.directory, f"{end['id']}.{kind}")) for kind in ("in", "out")}
                for end in ends]
        for kind in ("in", "out"):
            # Dovecot may close without having read the answer to its QUIT.
            self.assertEqual(sorted(GOODBYE.sub(b"", without_stamps(pair[kind])) for pair in ours),
                             sorted(GOODBYE.sub(b"", without_stamps(pair[kind])) for pair in theirs), kind)
            for pair in ours + theirs:
                # Each line has its stamp, in either's recordings.
                self.assertEqual(len(STAMP.findall(pair[kind])), len(pair[kind].splitlines()))
        return ours, ends

    def test_an_lmtp_proxy_and_its_target(self):
        with Dovecot(("lmtp",)) as target, \
                Relay("%s:%d" % target.address("lmtp"), "--protocol", "lmtp", "--leg", "back", "-t") as relay, \
                Dovecot(("lmtp",), fields=f"proxy=y host=127.0.0.1 port={relay.port}",
                        more=("lmtp_proxy = yes", "lmtp_proxy_rawlog_dir = {rawlog}")) as proxy:
            for number in range(3):
                client = smtplib.LMTP("127.0.0.1", proxy.ports["lmtp"])
                client.sendmail("bob@test.invalid", ["alice"], BODY * (number + 1))
                client.quit()
            ours, ends = self.compare(relay, proxy, 3)
            self.assertEqual({end["recording"] for end in ends}, {"complete"})
            for pair in ours:
                self.assertIn(b"LHLO", pair["out"])
                self.assertIn(b"line 2999 of a message", pair["out"])
                self.assertIn(b" Saved", pair["in"])

    def test_submission_and_its_relay(self):
        with SmtpSink() as sink, \
                Relay(f"127.0.0.1:{sink.port}", "--protocol", "smtp", "--leg", "back", "-t") as relay, \
                Dovecot(("submission",), relay_port=relay.port,
                        more=("protocol submission {\n  submission_relay_rawlog_dir = {rawlog}\n}",)) as server:
            for _ in range(2):
                client = smtplib.SMTP("127.0.0.1", server.ports["submission"])
                client.ehlo("client.test.invalid")
                client.login(server.user, server.password)
                client.sendmail("alice@test.invalid", ["bob@test.invalid"], BODY)
                client.quit()
            ours, _ = self.compare(relay, server, 2)
            self.assertEqual(len(sink.messages), 2)
            for pair in ours:
                self.assertIn(b"MAIL FROM:", pair["out"])
                self.assertIn(b"220 sink.test.invalid", pair["in"])


if __name__ == "__main__":
    unittest.main()
