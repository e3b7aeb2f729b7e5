"""Adds everything up. Each line says what must be so, and what is not."""

import accounts
from recordings import DIRECTIONS

MOST_NAMED = 5  # sessions that a line names when it does not add up
LOST = ("lossy", "failed")


class Line:
    def __init__(self, name, says, wrong=()):
        self.name = name
        self.says = says
        self.wrong = list(wrong)

    def text(self):
        shown = "".join(f"\n      {item}" for item in self.wrong[:MOST_NAMED])
        more = f"\n      and {len(self.wrong) - MOST_NAMED} more" if len(self.wrong) > MOST_NAMED else ""
        return f"  {'WRONG' if self.wrong else 'ok   '} {self.name}: {self.says}{shown}{more}"


class RelayAccount:
    """What is known of one relay's sessions."""

    def __init__(self, name, numbers, index, protocol="raw"):
        self.name = name
        self.numbers = numbers
        self.index = index
        self.protocol = protocol

    def ended(self):
        """Sessions that clients began and that the index ended."""
        known = set(self.numbers)
        return [(number, end) for number, end in self.index.ends.items() if number in known]


def session_lines(relay, clients):
    """Whoever connected is in the index, once; and nobody else."""
    must = {n for n in relay.numbers if clients[n].state not in (accounts.NONE, accounts.CONNECTING, accounts.REFUSED)}
    may = set(relay.numbers)
    index = relay.index
    wrong = [f"session {n} is not in the index" for n in sorted(must - set(index.ends))]
    wrong += [f"session {n} of the index is nobody's" for n in sorted(set(index.ends) - may)]
    wrong += [f"session {n} has a start and no end" for n in sorted(set(index.starts) - set(index.ends))]
    wrong += [f"session {n} has an end and no start" for n in sorted(set(index.ends) - set(index.starts))]
    wrong += [f"session {n} has two ids" for n, end in index.ends.items() if index.starts.get(n, end.id) != end.id]
    if index.twice or index.strangers:
        wrong.append(f"{index.twice} records twice, {index.strangers} of nobody")
    return Line(f"{relay.name}, sessions", f"{len(must)} connected, {len(index.ends)} ended in the index", wrong)


def byte_line(relay, clients, servers):
    """What one side sent is what the index counted is what the other side received; of a session that was cut, no more
    than the one before."""
    wrong = []
    sums = dict.fromkeys(("sent", "index", "received", "cut"), 0)
    for number, end in relay.ended():
        client, server = clients[number], servers[number]
        real = relay.protocol == "imap"
        orderly = client.state == accounts.ORDERLY and (real or server.state == accounts.ORDERLY)
        for direction, sender, receiver in (("in", client, server), ("out", server, client)):
            counted = getattr(end, direction + "_bytes")
            most = sender.sending if sender is client or not real else counted
            least = receiver.received if receiver is client or not real else 0
            sent = sender.sent if sender is client or not real else counted
            received = receiver.received if receiver is client or not real else counted
            if orderly and not sent == counted == received:
                wrong.append(f"session {number}, {direction}: {sent} sent, {counted} in the index, {received} received")
            elif not least <= counted <= most:
                wrong.append(f"session {number}, {direction}: {least} received, {counted} in the index, {most} sent")
            sums["sent"] += sent
            sums["index"] += counted
            sums["received"] += received
            sums["cut"] += not orderly
    says = (f"{sums['sent']} sent, {sums['index']} in the index, {sums['received']} received; "
            f"{sums['cut']} of {2 * len(relay.index.ends)} streams were cut, the others agree exactly")
    return Line(f"{relay.name}, bytes", says, wrong), sums


def stuck_line(relay, clients, servers):
    wrong = []
    for number in relay.numbers:
        for who, account in (("client", clients[number]), ("server", servers[number])):
            if account.state == accounts.STUCK:
                wrong.append(f"session {number}: the {who} waited in vain")
            if account.wrong:
                wrong.append(f"session {number}: the {who} received other bytes than were sent")
    says = "every byte that came was the right one, and nobody waited in vain"
    return Line(f"{relay.name}, what arrived", says, wrong)


def recording_line(relay, faults):
    """Whole unless a fault explains it; and then all but what the index lists."""
    wrong = []
    fates = {}
    sums = dict.fromkeys(("bytes", "recorded", "dropped", "failed"), 0)
    for number, end in relay.index.ends.items():
        fates[end.recording] = fates.get(end.recording, 0) + 1
        counted = sum(getattr(end, d + "_bytes") for d in DIRECTIONS)
        recorded = sum(getattr(end, d + "_recorded") for d in DIRECTIONS)
        missing = counted - recorded - end.dropped
        sums["bytes"] += counted
        sums["recorded"] += recorded
        sums["dropped"] += end.dropped
        if end.recording == "failed":
            sums["failed"] += missing
        elif missing:
            wrong.append(f"session {number}: {missing} bytes neither recorded nor listed ({end.recording})")
        if end.dropped != sum(count for _, _, count in end.gaps):
            wrong.append(f"session {number}: {end.dropped} bytes dropped, and other gaps")
        if (end.recording == "lossy") != bool(end.dropped) and relay.name != "collector" and end.recording != "failed":
            wrong.append(f"session {number}: {end.recording} with {end.dropped} bytes dropped")
        # What never became TLS is not recorded, and nothing of it was relayed.
        if end.recording == "none" and end.reason == "tls-error" and not counted:
            continue
        explained = any(fault.touches(relay.name, end.recording, end.begin, end.end) for fault in faults)
        if end.recording != "complete" and not explained:
            wrong.append(f"session {number} ({end.id}): {end.recording}, and no fault explains it")
    says = ", ".join(f"{count} {fate}" for fate, count in sorted(fates.items()))
    says += (f"; {sums['bytes']} bytes relayed = {sums['recorded']} recorded + {sums['dropped']} in gaps + "
             f"{sums['failed']} of recordings that failed")
    if sums["bytes"] != sums["recorded"] + sums["dropped"] + sums["failed"]:
        wrong.append("the sums differ")
    return Line(f"{relay.name}, recordings", says, wrong), fates, sums


def content_line(relay, faults):
    wrong, counts = [], {"same": 0, "cut": 0}
    for number, end in relay.index.ends.items():
        if end.content in counts:
            counts[end.content] += 1
        # What the collector's kernel had and the collector had not when it was killed, nobody can know.
        elif relay.name != "collector" or not any(f.touches("collector", "lossy", end.begin, end.end) for f in faults):
            wrong.append(f"session {number} ({end.id}): {end.content or 'never compared'}")
    says = f"{counts['same']} are byte for byte what was sent, {counts['cut']} all but what the index says is missing"
    return Line(f"{relay.name}, contents", says, wrong)


def torn_line(relay, faults):
    """Only a disk that is full tears a line, and then the line follows whole."""
    full = [fault for fault in faults if fault.name == "disk-full" and relay.name in fault.relays]
    wrong = [f"{relay.index.torn} lines"] if relay.index.torn and not full else []
    return Line(f"{relay.name}, torn lines", f"{relay.index.torn} with {len(full)} times a full disk", wrong)


def growth_line(name, what, unit, samples, allowed):
    """`samples` are start, peak and end."""
    start, peak, end = samples
    wrong = [f"{end - start} {unit} more than at the start, {allowed} are allowed"] if end - start > allowed else []
    return Line(f"{name}, {what}", f"{start} at the start, {peak} at most, {end} at the end ({unit})", wrong)


def ending_line(name, code, lines):
    wrong = [f"it ended with {code}"] if code else []
    wrong += [f"not a message: {line}" for line in lines if not line.startswith("uring-rawlog: ")]
    return Line(f"{name}, its end", f"exit code {code}, {len(lines)} lines on standard error", wrong)
