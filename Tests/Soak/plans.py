"""What each session of the soak says and does: everything follows from the seed and the session's number, so that
client, server and whoever reads the recording know it without asking one another."""

import random

PERIOD = 1048573  # prime: bytes that are lost or repeated shift the rest, whatever their number
LARGEST = 1 << 20
HEADER = 11  # the client says first which session it is
KIB, MIB = 1 << 10, 1 << 20

# Of all synthetic sessions.
WEIGHTS = {"mail": 40, "bulk": 10, "idle": 10, "half": 12, "reset": 12, "stalled": 8, "abandoned": 4, "chatty": 4}
TLS_KINDS = {"half": "mail"}  # a client that ends its stream under TLS and then goes on reading is rare


def _text(seed):
    """Lines without digits, so that no stamp can be taken for data; some without an end for long."""
    draw = random.Random(f"text {seed}")
    letters = bytes(range(65, 91)) + bytes(range(97, 123)) + b" \t\r.,;=<>\x00\x80\xff"
    parts = []
    size = 0
    while size < PERIOD:
        line = bytes(draw.choices(letters, k=int(2 ** draw.uniform(0, 10)))) * draw.choice((1, 1, 1, 1, 20))
        parts.append(line + b"\n")
        size += len(line) + 1
    return b"".join(parts)[:PERIOD]


class Text:
    """The endless text that all streams are cut from."""

    def __init__(self, seed):
        self.seed = seed
        once = _text(seed)
        self._twice = memoryview(once + once + once[:LARGEST])

    def stream(self, number, direction):
        return Stream(self._twice, number, direction, self.seed)


class Stream:
    """The bytes of one direction of one session."""

    def __init__(self, twice, number, direction, seed):
        self._twice = twice
        self._offset = random.Random(f"{seed} {number} {direction}").randrange(PERIOD)
        self._header = b"S%09d\n" % number if direction == "in" else b""

    def piece(self, place, count):
        """At most `LARGEST` bytes from a place on."""
        start = (self._offset + place) % PERIOD
        if place >= len(self._header):
            return self._twice[start:start + count]
        head = self._header[place:place + count]
        return head + bytes(self._twice[start + len(head):start + count])

    def agrees(self, place, data):
        """Whether these are the bytes at this place."""
        view = memoryview(data)
        done = 0
        while done < len(view):
            count = min(LARGEST, len(view) - done)
            if self.piece(place + done, count) != view[done:done + count]:
                return False
            done += count
        return True


class Side:
    """What one side does: `steps` are how many bytes it waits for, for how many seconds it pauses then, and how many
    bytes it sends. `stall` is at which byte it stops reading, and for how long. In the end it ends its stream (`eof`),
    waits for the other's end first (`wait`), or resets (`reset`)."""

    def __init__(self, steps, end="eof", stall=None):
        self.steps = steps
        self.end = end
        self.stall = stall

    @property
    def total(self):
        return sum(count for _, _, count in self.steps)


class Plan:
    def __init__(self, kind, client, server):
        self.kind = kind
        self.client = client
        self.server = server


def plan(seed, number, tls):
    draw = random.Random(f"plan {seed} {number}")
    kind = draw.choices(list(WEIGHTS), WEIGHTS.values())[0]
    if tls:
        kind = TLS_KINDS.get(kind, kind)
    client, server = _SIDES[kind](draw)
    if tls:
        _end_from_the_server(client, server)
    return Plan(kind, client, server)


def _end_from_the_server(client, server):
    """Whoever ends its stream first under TLS cannot read any more: the server, when it has everything."""
    if client.end == "eof":
        client.end = "wait"
    if server.end == "eof":
        server.steps.append((client.total, 0, 0))


def _size(draw, least, most):
    return int(2 ** draw.uniform(least, most))


def _turns(draw, turns, question, answer):
    client, server = [], []
    asked = answered = 0
    for turn in range(turns):
        count = HEADER * (turn == 0) + _size(draw, *question)
        client.append((answered, draw.choice((0, 0, 0, 0.02, 0.2)), count))
        asked += count
        count = _size(draw, *answer)
        server.append((asked, 0, count))
        answered += count
    return client, server, answered


def _mail(draw):
    client, server, answered = _turns(draw, draw.randint(2, 12), (4, 9), (4, draw.choice((10, 10, 16))))
    client.append((answered, 0, 0))
    return Side(client), Side(server)


def _chatty(draw):
    client, server, answered = _turns(draw, draw.randint(100, 400), (0, 6), (0, 6))
    client.append((answered, 0, 0))
    return Side(client), Side(server)


def _bulk(draw):
    return (Side([(0, 0, HEADER + _size(draw, 17, 21.5))]), Side([(HEADER, 0, _size(draw, 17, 21.5))]))


def _idle(draw):
    pause = draw.uniform(2, 15)
    return (Side([(0, 0, HEADER + 20), (10, pause, 50), (60, 0, 0)]),
            Side([(HEADER + 20, 0, 10), (HEADER + 70, 0, 50)]))


def _half(draw):
    up, down = HEADER + _size(draw, 4, 18), _size(draw, 4, 18)
    if draw.random() < 0.5:
        return Side([(0, 0, up)]), Side([(up, draw.uniform(0.1, 3), down)])
    return Side([(0, 0, HEADER), (down, draw.uniform(0.1, 3), up - HEADER)]), Side([(HEADER, 0, down)])


def _reset(draw):
    up, down = HEADER + _size(draw, 4, 20), _size(draw, 4, 20)
    client = Side([(0, 0, up), (draw.randrange(down), 0, 0)])
    server = Side([(HEADER, 0, down), (draw.randrange(up), 0, 0)])
    draw.choice((client, server)).end = "reset"
    return client, server


def _stalled(draw):
    stall = (_size(draw, 4, 16), draw.uniform(1, 8))
    many, few = _size(draw, 19, 22), _size(draw, 4, 10)
    if draw.random() < 0.5:
        return Side([(0, 0, HEADER + few)], stall=stall), Side([(HEADER, 0, many)])
    return Side([(0, 0, HEADER + many)]), Side([(HEADER, 0, few)], stall=stall)


def _abandoned(draw):
    client, server = _stalled(draw)
    side = client if client.stall else server
    side.end = "reset"
    return client, server


_SIDES = {"mail": _mail, "chatty": _chatty, "bulk": _bulk, "idle": _idle, "half": _half, "reset": _reset,
          "stalled": _stalled, "abandoned": _abandoned}
