"""A connection through recorders of every layout, and what must be true of what they wrote about its credentials."""

import base64
import contextlib
import os
import re
import tempfile

import merged
from relay import Relay, run
from tap import Tap

MARK = b"<redacted>"
LAYOUTS = {"pair": (), "stamps": ("-t",), "boundaries": ("-b",), "both": ("-bt",), "merged": ("--layout", "merged")}
STAMP = re.compile(rb"(?m)^\d{10}\.\d{6} ")


def decode(directory, name, layout):
    """What a recording has of both directions."""
    def read(suffix):
        with open(os.path.join(directory, name + suffix), "rb") as file:
            return file.read()

    if layout == "merged":
        return merged.decode(read(".rawlog"))
    found = {}
    for direction in ("in", "out"):
        data = read("." + direction)
        if layout in ("boundaries", "both"):
            data = re.sub(rb"\A<<<\n|>>>\n\Z", b"", data.replace(b">>>\n<<<\n", b""))
        found[direction] = STAMP.sub(b"", data) if layout in ("stamps", "both") else data
    return found


def restored(recorded, traffic):
    """What stands behind each mark, so that the recording with it put back is the traffic."""
    first, *parts = recorded.split(MARK)
    if not traffic.startswith(first):
        raise AssertionError(f"altered before the first mark:\n{first[:400]!r}\n{traffic[:400]!r}")
    place = len(first)
    hidden = []
    for number, part in enumerate(parts):
        last = number == len(parts) - 1
        end = len(traffic) - len(part) if last else traffic.find(part, place + 1)
        if end <= place or not traffic.startswith(part, end):
            raise AssertionError(f"altered behind mark {number + 1}: {part[:400]!r}\n{traffic[place:place + 400]!r}")
        hidden.append(traffic[place:end])
        place = end + len(part)
    return hidden


def forms(secret):
    """A secret as it may be written: as it is, and the base64 of anything that holds it, in both alphabets."""
    if isinstance(secret, str):
        secret = secret.encode()
    found = {secret}
    for shift in range(3):
        for encode in (base64.b64encode, base64.urlsafe_b64encode):
            # Without the characters to which neighbours contribute.
            text = encode(b"\0" * shift + secret)
            found.add(text[(0, 2, 3)[shift]:len(text) - (0, 3, 2)[(shift + len(secret)) % 3] or None].rstrip(b"="))
    return {form for form in found if len(form) >= 4}


def leaks(directory, secrets):
    """Where a secret is found in anything below a directory, names included."""
    wanted = [(secret, form) for secret in secrets for form in forms(secret)]
    found = []
    for parent, directories, files in os.walk(directory):
        for name in directories + files:
            found += [f"{secret!r} in the name {name!r}" for secret, form in wanted if form in os.fsencode(name)]
        for name in files:
            with open(os.path.join(parent, name), "rb") as file:
                data = file.read()
            found += [f"{secret!r} as {form!r} in {name}" for secret, form in wanted if form in data]
    return found


class Recorders(contextlib.ExitStack):
    """Recorders in a row in front of a server, a tap before them: of each layout one that redacts, and one that keeps and
    is scrubbed afterwards; a context manager. Clients connect to `address`."""

    def __init__(self, server, protocol, *options):
        super().__init__()
        self.protocol = protocol
        self._server = server
        self._options = options
        self.redacting, self.keeping = {}, {}

    def __enter__(self):
        super().__enter__()
        address = "%s:%d" % tuple(self._server)
        with contextlib.ExitStack() as stack:
            for layout, flags in LAYOUTS.items():
                for relays, more in ((self.redacting, self._options), (self.keeping, ("--secrets", "keep"))):
                    relay = stack.enter_context(Relay(address, "--protocol", self.protocol, *flags, *more))
                    relays[layout] = relay
                    address = "127.0.0.1:%d" % relay.port
            self.tap = stack.enter_context(Tap(relay.address))
            self.push(stack.pop_all())
        self.address = self.tap.address
        return self

    def ended(self, relay, count):
        """The end records of a relay, in the order of accepting."""
        return sorted(relay.wait_ends(count), key=lambda end: int(end["id"].rsplit(".", 1)[1]))

    def check(self, test, secrets, sessions=1):
        """All that was written about so many connections is what was sent but for the secrets, and these are nowhere.
        Returns the end records of one recorder, and what was hidden in each connection."""
        self.tap.wait_finished(sessions)
        traffic = [(bytes(c.from_client), bytes(c.from_server)) for c in self.tap.connections]
        test.assertEqual(len(traffic), sessions)
        everything = set(secrets)
        all_hidden = None
        for layout, relay in self.redacting.items():
            ends = self.ended(relay, sessions)
            hidden = self._compare(test, relay.directory, ends, layout, traffic, "redacted")
            all_hidden = all_hidden or hidden
            test.assertEqual(hidden, all_hidden, layout)
        everything |= {secret for hidden in all_hidden for secret in hidden if len(secret) >= 4}
        for relay in self.redacting.values():
            test.assertEqual(leaks(relay.directory, everything), [])
        for layout, relay in self.keeping.items():
            self._check_scrubbed(test, layout, relay, traffic, all_hidden, everything)
        return self.ended(self.redacting["stamps"], sessions), all_hidden

    def _compare(self, test, directory, ends, layout, traffic, what):
        hidden = []
        for end, (client, server) in zip(ends, traffic, strict=True):
            found = decode(directory, end["id"], layout)
            test.assertTrue(found["out"] == server, f"{what}, {layout}: what the server sent was altered")
            hidden.append(restored(found["in"], client))
            test.assertEqual((end["redacted"], end["recording"]), (len(hidden[-1]), "complete"), layout)
        return hidden

    def _check_scrubbed(self, test, layout, relay, traffic, hidden, secrets):
        ends = self.ended(relay, len(traffic))
        with tempfile.TemporaryDirectory(prefix="uring-rawlog-scrubbed-") as directory:
            once, twice = os.path.join(directory, "once"), os.path.join(directory, "twice")
            for source, target in ((relay.directory, once), (once, twice)):
                done = run("scrub", "--protocol", self.protocol, "--output", target, source)
                test.assertEqual((done[0], done[2]), (0, ""), done)
            test.assertEqual(run("verify", once)[0], 0)
            test.assertEqual(leaks(once, secrets), [])
            for name in os.listdir(once):
                with open(os.path.join(once, name), "rb") as one, open(os.path.join(twice, name), "rb") as other:
                    test.assertTrue(one.read() == other.read(), f"{name} changes when it is scrubbed twice")
            for end, (client, server), expected in zip(ends, traffic, hidden):
                found = decode(once, end["id"], layout)
                test.assertTrue(found["out"] == server, f"{layout}: what the server sent was altered")
                test.assertEqual(restored(found["in"], client), expected, f"scrubbed, {layout}")
