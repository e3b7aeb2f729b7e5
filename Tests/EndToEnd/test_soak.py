"""The soak for half a minute, and that its ledger notices what does not add up."""

import json
import os
import subprocess
import sys
import tempfile
import unittest

from relay import PROGRAM, ROOT

sys.path.insert(0, os.path.join(ROOT, "Tests", "Soak"))

import accounts
import ledger
from faults import Fault
from plans import HEADER, Text, plan
from recordings import Comparison, IndexReader


class Soak(unittest.TestCase):
    def test_half_a_minute(self):
        with tempfile.TemporaryDirectory() as directory:
            output = os.path.join(directory, "ledger")
            command = [os.path.join(ROOT, "scripts", "soak"), "--seconds", "30", "--seed", "11", "--rate", "15",
                       "--pause", "1.5", "--output", output]
            done = subprocess.run(command, env={**os.environ, "URING_RAWLOG": PROGRAM},
                                  stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=500, check=False)
            self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
            with open(output + ".json", encoding="utf-8") as file:
                result = json.load(file)
        self.assertTrue(result["adds_up"])
        self.assertGreater(sum(relay["sessions"] for relay in result["relays"].values()), 200)
        self.assertGreater(len(result["faults"]), 3)
        self.assertLessEqual({"mail", "bulk", "idle", "half", "reset", "stalled"}, set(result["kinds"]))


    def test_load(self):
        """That it works; it says nothing about cost."""
        with tempfile.TemporaryDirectory() as directory:
            output = os.path.join(directory, "load.json")
            done = subprocess.run([os.path.join(ROOT, "scripts", "load"), "--tiny", "--output", output],
                                  env={**os.environ, "URING_RAWLOG": PROGRAM}, stdin=subprocess.DEVNULL,
                                  capture_output=True, text=True, timeout=300, check=False)
            self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
            with open(output, encoding="ascii") as file:
                result = json.load(file)
        self.assertEqual([row["sessions"] for row in result["idle"]], [200] * 3)
        self.assertEqual([(row["connects"], row["not_answered"]) for row in result["connects"]], [(200, 0)] * 3)
        self.assertEqual([row["sessions"] for row in result["stalled"]], [20] * 2)
        self.assertEqual([row["sessions"] for row in result["hostile"]], [20, 1, 20])


class Plans(unittest.TestCase):
    def test_every_session_can_end(self):
        """Whatever one side waits for, the other sends before it waits for more."""
        for number in range(1, 3000):
            doing = plan(5, number, tls=number % 2 == 0)
            sides = ((doing.client, doing.server), (doing.server, doing.client))
            sent, step, moved = [0, 0], [0, 0], True
            while moved:
                moved = False
                for this, (side, _) in enumerate(sides):
                    while step[this] < len(side.steps) and side.steps[step[this]][0] <= sent[1 - this]:
                        sent[this] += side.steps[step[this]][2]
                        step[this] += 1
                        moved = True
            self.assertEqual(step, [len(doing.client.steps), len(doing.server.steps)], (number, doing.kind))
            self.assertGreaterEqual(doing.client.steps[0][2], HEADER)

    def test_text(self):
        text = Text(9)
        stream = text.stream(77, "in")
        self.assertEqual(bytes(stream.piece(0, HEADER)), b"S000000077\n")
        self.assertTrue(stream.agrees(5, bytes(stream.piece(5, 3000)) + bytes(stream.piece(3005, 1 << 20))))
        self.assertFalse(stream.agrees(0, bytes(stream.piece(1, 1000))))
        self.assertFalse(stream.agrees(0, bytes(text.stream(78, "in").piece(0, 1000))))


class Ledger(unittest.TestCase):
    """Books that add up, and the same with one thing wrong in them."""

    def setUp(self):
        temporary = tempfile.TemporaryDirectory()
        self.addCleanup(temporary.cleanup)
        self.directory = temporary.name
        self.text = Text(3)
        self.sides = []
        for name in ("clients", "servers"):
            path = os.path.join(self.directory, name)
            accounts.create(path)
            self.sides.append(accounts.Accounts(path))
        self.faults = []
        self.records = []
        for number in range(1, 6):
            client, server = (side[number] for side in self.sides)
            client.state = server.state = accounts.ORDERLY
            client.sent = client.sending = server.received = 100 * number
            server.sent = server.sending = client.received = 200 * number
            for event in ("start", "end"):
                self.records.append(self.record(number, event))

    def record(self, number, event):
        record = {"event": event, "id": f"20260101-000000.1.{number}", "time": "2026-01-01T00:00:00.000000Z",
                  "client": f"{accounts.address_of(number)}:4711"}
        if event == "end":
            record |= {"reason": "client-eof", "seconds": 1.5, "in_bytes": 100 * number, "out_bytes": 200 * number,
                       "in_recorded": 100 * number, "out_recorded": 200 * number, "in_file": 100 * number,
                       "out_file": 200 * number, "dropped": 0, "gaps": [], "redacted": 0, "recording": "complete"}
        return record

    def end(self, number):
        client = accounts.address_of(number) + ":"
        return next(r for r in self.records if r["event"] == "end" and r["client"].startswith(client))

    def wrong(self, content=None, more=b""):
        """The lines that do not add up."""
        path = os.path.join(self.directory, "sessions.jsonl")
        with open(path, "wb") as file:
            for record in self.records:
                file.write(json.dumps(record, separators=(",", ":")).encode() + b"\n")
            file.write(more)
        reader = IndexReader(path)
        reader.poll()
        reader.close()
        comparison = Comparison(self.text, None)
        for number, end in reader.ends.items():
            sent = {direction: bytes(self.text.stream(number, direction).piece(0, count))
                    for direction, count in (("in", end.in_recorded), ("out", end.out_recorded))}
            end.content = comparison.synthetic(number, end, content(number, sent) if content else sent)
        relay = ledger.RelayAccount("pair", range(1, 6), reader)
        lines = [ledger.session_lines(relay, self.sides[0]), ledger.byte_line(relay, *self.sides)[0],
                 ledger.stuck_line(relay, *self.sides), ledger.recording_line(relay, self.faults)[0],
                 ledger.content_line(relay, self.faults), ledger.torn_line(relay, self.faults)]
        return {line.name.removeprefix("pair, ") for line in lines if line.wrong}

    def test_adds_up(self):
        self.assertEqual(self.wrong(), set())

    def test_missing_and_surplus_sessions(self):
        self.records.remove(self.end(3))
        self.assertEqual(self.wrong(), {"sessions"})
        self.records += [self.record(3, "end"), self.record(9, "start"), self.record(9, "end")]
        self.assertEqual(self.wrong(), {"sessions"})

    def test_a_record_that_is_there_twice(self):
        self.records.append(self.record(2, "end"))
        self.assertEqual(self.wrong(), {"sessions"})

    def test_a_byte_too_few(self):
        self.end(2)["in_bytes"] -= 1
        self.assertEqual(self.wrong(), {"bytes", "recordings"})

    def test_a_session_that_was_cut_may_lack_bytes_at_its_end_only(self):
        self.sides[1][4].state = accounts.OPEN
        self.sides[1][4].received = 300
        self.assertEqual(self.wrong(), set())
        self.sides[1][4].received = 401
        self.assertEqual(self.wrong(), {"bytes"})

    def test_a_loss_that_is_not_listed(self):
        self.end(2)["out_recorded"] -= 1
        self.assertEqual(self.wrong(), {"recordings"})

    def test_a_loss_that_no_fault_explains(self):
        end = self.end(2)
        end.update({"recording": "lossy", "dropped": 10, "out_recorded": 390,
                    "gaps": [{"direction": "out", "offset": 100, "bytes": 10}]})
        stream = self.text.stream(2, "out")

        def without_gap(number, sent):
            return sent if number != 2 else {**sent, "out": bytes(stream.piece(0, 100)) + bytes(stream.piece(110, 290))}
        self.assertEqual(self.wrong(content=without_gap), {"recordings"})
        fault = Fault("disk-hangs", ["pair"], ["lossy"])
        fault.begin, fault.end = 1767225599, 1767225600  # when the session was
        self.faults.append(fault)
        self.assertEqual(self.wrong(content=without_gap), set())
        # The gap is elsewhere than the index says.
        self.assertEqual(self.wrong(), {"contents"})
        fault.begin, fault.end = 1767225700, 1767225701
        self.assertEqual(self.wrong(content=without_gap), {"recordings"})

    def test_what_never_became_tls(self):
        for field in ("in_bytes", "out_bytes", "in_recorded", "out_recorded"):
            self.end(3)[field] = 0
        self.end(3).update(recording="none", reason="tls-error")
        for side in self.sides:
            side[3].state, side[3].received = accounts.RESET, 0
        self.assertEqual(self.wrong(), set())
        self.end(3)["reason"] = "client-eof"
        self.assertEqual(self.wrong(), {"recordings"})

    def test_a_byte_exchanged(self):
        def exchanged(number, sent):
            return {**sent, "in": b"T" + sent["in"][1:]} if number == 5 else sent
        self.assertEqual(self.wrong(content=exchanged), {"contents"})

    def test_a_torn_line(self):
        self.assertEqual(self.wrong(more=b'{"event":"st\n'), {"torn lines"})

    def test_who_waited_in_vain(self):
        self.sides[0][1].state = accounts.STUCK
        self.assertEqual(self.wrong(), {"what arrived"})

    def test_growth_and_ends(self):
        self.assertEqual(ledger.growth_line("pair", "descriptors", "open", (9, 80, 9), 0).wrong, [])
        self.assertNotEqual(ledger.growth_line("pair", "descriptors", "open", (9, 80, 10), 0).wrong, [])
        self.assertEqual(ledger.ending_line("pair", 0, ["uring-rawlog: ending"]).wrong, [])
        self.assertNotEqual(ledger.ending_line("pair", -11, []).wrong, [])
        self.assertNotEqual(ledger.ending_line("pair", 0, ["Fatal error"]).wrong, [])


if __name__ == "__main__":
    unittest.main()
