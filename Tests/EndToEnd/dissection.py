"""Takes pcapng captures apart, strictly, by the draft and the RFCs and by docs/FORMAT.md: apart from the program's own
reader, so that both can be wrong only in different ways."""

import ipaddress
import struct

SECTION, INTERFACE, PACKET, STATISTICS = 0x0A0D0D0A, 1, 6, 5
FIN, SYN, RST, PUSH, ACK = 1, 2, 4, 8, 16
SESSION_LINK = 0x9572
GAP_STEP = 1 << 30


def check(condition, what):
    if not condition:
        raise AssertionError(what)


def blocks(data):
    """Type, body and place of each block; what is behind the last whole one is not looked at."""
    place = 0
    while place + 12 <= len(data):
        kind, length = struct.unpack_from("=II", data, place)
        check(length >= 12 and length % 4 == 0, f"block at {place} of {length} bytes")
        if place + length > len(data):
            break
        check(struct.unpack_from("=I", data, place + length - 4)[0] == length, f"lengths of the block at {place}")
        yield kind, data[place + 8:place + length - 4], place
        place += length


def options(data):
    """Pairs of code and value; the list must end with its end, and be padded with zeros."""
    place = 0
    found = []
    while True:
        code, length = struct.unpack_from("=HH", data, place)
        place += 4
        if code == 0:
            check(length == 0 and place == len(data), "an end of options at their end")
            return found
        found.append((code, data[place:place + length]))
        padded = (length + 3) & ~3
        check(not any(data[place + length:place + padded]), "padding of zeros")
        place += padded


def checksum(data):
    if len(data) % 2:
        data += b"\0"
    total = sum(struct.unpack(f">{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total


class Packet:
    """One packet, of which every checksum and length is right."""

    def __init__(self, body, place):
        interface, high, low, captured, length = struct.unpack_from("=IIIII", body)
        check(interface == 0 and captured == length, "a packet that is not cut")
        self.place = place
        self.time = high << 32 | low
        data = body[20:20 + captured]
        padded = (captured + 3) & ~3
        check(not any(body[20 + captured:20 + padded]), "padding of zeros")
        self.read_options(options(body[20 + padded:]))
        if data[0] >> 4 == 4:
            version, length, self.identification, fragment, hops, protocol = struct.unpack_from(">HHHHBB", data)
            check((version, fragment, hops, protocol) == (0x4500, 0x4000, 64, 6), "an IPv4 header")
            check(length == captured and checksum(data[:20]) == 0xFFFF, "length and checksum of IPv4")
            addresses, segment = data[12:20], data[20:]
            self.source, self.destination = (ipaddress.IPv4Address(addresses[at:at + 4]) for at in (0, 4))
        else:
            check(data[0] >> 4 == 6, "IPv4 or IPv6")
            version, length, protocol, hops = struct.unpack_from(">IHBB", data)
            check((version, protocol, hops) == (0x60000000, 6, 64) and length + 40 == captured, "an IPv6 header")
            addresses, segment = data[8:40], data[40:]
            self.source, self.destination = (ipaddress.IPv6Address(addresses[at:at + 16]) for at in (0, 16))
        self.read_segment(segment, addresses)

    def read_options(self, found):
        self.comments = [value.decode() for code, value in found if code == 1]
        (flags,) = [struct.unpack("=I", value)[0] for code, value in found if code == 2]
        check(flags in (1, 2), "inbound or outbound")
        self.direction = "in" if flags == 1 else "out"
        ((self.session, self.previous),) = [struct.unpack("=QQ", value) for code, value in found
                                            if code == SESSION_LINK]

    def read_segment(self, segment, addresses):
        pseudo = addresses + struct.pack(">II", len(segment), 6)
        check(checksum(pseudo + segment) == 0xFFFF, "checksum of TCP")
        ports = struct.unpack_from(">HH", segment)
        self.ends = ((self.source, ports[0]), (self.destination, ports[1]))
        self.sequence, self.acknowledgement, head, self.flags, window, _, urgent = struct.unpack_from(">IIBBHHH",
                                                                                                   segment, 4)
        check((window, urgent) == (65535, 0), "window")
        head = (head >> 4) * 4
        wanted = bytes.fromhex("0204ffd703030e01") if self.flags & SYN else b""
        check(segment[20:head] == wanted, "options of TCP")
        self.payload = segment[head:]
        self.gap = 0
        for comment in self.comments:
            words = comment.split()
            if words[1:4] == ["bytes", "missing", "at"]:
                self.gap, self.gap_place = int(words[0]), int(words[4])


class Session:
    """A session put together from its packets, each of which must be the one that can come next."""

    def __init__(self, packet):
        self.streams = {"in": bytearray(), "out": bytearray()}
        self.gaps = {"in": [], "out": []}
        self.next = {}
        self.finished = []
        self.reset = self.record = None
        self.ends = set(packet.ends)
        self.opener = packet.direction
        self.number = packet.session
        self.id = packet.comments[-1].split()[1]
        check(packet.comments[-1] in (f"session {self.id}", f"session {self.id} continues"), "a session's first comment")
        check(packet.flags == (ACK if packet.comments[-1].endswith("continues") else SYN), "a session's first packet")
        check(self.id.endswith(f".{packet.session}"), "the session's number is that of its id")

    def take(self, packet):
        check(self.record is None, "nothing behind the last packet")
        check(set(packet.ends) == self.ends and packet.session == self.number, "ends of the session")
        way, other = packet.direction, "out" if packet.direction == "in" else "in"
        expected = self.next.get(way)
        if expected is not None:
            step = min(packet.gap, GAP_STEP)
            check(packet.sequence == (expected + step) & 0xFFFFFFFF, f"sequence at {packet.place}")
        if packet.flags & ACK and other in self.next:
            check(packet.acknowledgement == self.next[other], f"acknowledgement at {packet.place}")
        if packet.gap:
            self.gaps[way].append([len(self.streams[way]), packet.gap])
        self.streams[way] += packet.payload
        length = len(packet.payload) + bool(packet.flags & (SYN | FIN))
        self.next[way] = (packet.sequence + length) & 0xFFFFFFFF
        check(way not in self.finished or not length, "nothing behind an end")
        if packet.flags & FIN:
            self.finished.append(way)
        if packet.flags & RST:
            self.reset = way
        if packet.comments and packet.comments[-1].startswith("{"):
            self.record = packet.comments[-1]


class Capture:
    """One capture: its sessions by id, and what stands in front of them and behind."""

    def __init__(self, data, sessions=None):
        self.sessions = {} if sessions is None else sessions
        self.packets = []
        self.statistics = None
        self.parts = {}
        listing = list(blocks(data))
        self.bytes = len(data)
        check([kind for kind, _, _ in listing[:2]] == [SECTION, INTERFACE], "section and interface come first")
        check(struct.unpack_from("=IHHQ", listing[0][1]) == (0x1A2B3C4D, 1, 0, (1 << 64) - 1), "a section header")
        self.section = {code: value.decode() for code, value in options(listing[0][1][16:])}
        check(struct.unpack_from("=HHI", listing[1][1]) == (101, 0, 0), "an interface of raw IP")
        self.interface = dict(options(listing[1][1][8:]))
        check(self.interface[9] == b"\x06", "microseconds")
        self.numbers = {}
        for kind, body, place in listing[2:]:
            check(self.statistics is None, "nothing behind the statistics")
            if kind == STATISTICS:
                self.statistics = {code: value for code, value in options(body[12:])}
            else:
                check(kind == PACKET, "packets")
                self.take(Packet(body, place))

    def take(self, packet):
        self.packets.append(packet)
        if packet.session not in self.numbers:
            check(packet.previous == 0, "the first packet of a session is linked to none")
            name = packet.comments[-1].split()[1]
            continues = packet.comments[-1].endswith(" continues")
            session = self.sessions.get(name)
            if session is None or not continues:
                session = self.sessions[name] = Session(packet)
            self.numbers[packet.session] = name
            self.parts[name] = [packet.place, packet.place, 0, continues]
        name = self.numbers[packet.session]
        part = self.parts[name]
        check(part[2] == 0 or packet.previous == part[1], "links between the packets of a session")
        part[1] = packet.place
        part[2] += 1
        self.sessions[name].take(packet)

    def index(self):
        """What its side file must be."""
        lines = set()
        for name, (first, last, count, continues) in self.parts.items():
            goes_on = self.sessions[name].record is None or last != self.last_place(name)
            lines.add((name, first, last, count, continues, goes_on))
        return lines

    def last_place(self, name):
        number = self.sessions[name].number
        return max(p.place for p in self.packets if p.session == number)
