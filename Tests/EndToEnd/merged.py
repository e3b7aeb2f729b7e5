"""Reads recordings of layout merged, strictly: whatever is no line of the format fails the test."""

import re

STAMP = re.compile(rb"\d{10}\.\d{6} ")
LINE = re.compile(rb"(\d{10}\.\d{6}) ([IO])([:>!]) ")
GAP = re.compile(rb"(\d+) bytes missing at (\d+)\n")
DIRECTIONS = {b"I": "in", b"O": "out"}
MOST = 8192  # of a line, until it comes in pieces


class Line:
    """One line of a recording: `text` is what was relayed of it, a gap has `offset` and `count` instead."""

    def __init__(self, stamp, direction, kind, text):
        self.stamp = float(stamp)
        self.direction = DIRECTIONS[direction]
        self.kind = kind.decode()
        self.text = text
        self.offset = self.count = None


def lines(recorded):
    """Every line of a recording that is whole."""
    found = []
    position = 0
    while position < len(recorded):
        end = recorded.find(b"\n", position)
        header = LINE.match(recorded, position)
        if end < 0 or not header or header.end() > end:
            raise AssertionError(f"no line at {position}: {recorded[position:position + 80]!r}")
        stamp, direction, kind = header.groups()
        # A piece's line feed was not relayed.
        text = recorded[header.end():end + (1 if kind == b":" else 0)]
        line = Line(stamp, direction, kind, text)
        if kind == b"!":
            gap = GAP.fullmatch(recorded[header.end():end + 1])
            if not gap:
                raise AssertionError(f"no gap at {position}: {recorded[position:end]!r}")
            line.text = b""
            line.count, line.offset = int(gap.group(1)), int(gap.group(2))
        elif kind == b">" and not text:
            raise AssertionError(f"an empty piece at {position}")
        found.append(line)
        position = end + 1
    return found


def decode(recorded):
    """The relayed bytes of each direction, without those that are missing."""
    texts = {"in": [], "out": []}
    for line in lines(recorded):
        texts[line.direction].append(line.text)
    return {direction: b"".join(parts) for direction, parts in texts.items()}


def gaps(recorded, direction):
    """The gaps of a direction as the recording tells of them: offset and count. Those that touch are one."""
    found = []
    for line in lines(recorded):
        if line.kind != "!" or line.direction != direction:
            continue
        if found and found[-1][0] + found[-1][1] == line.offset:
            found[-1] = (found[-1][0], found[-1][1] + line.count)
        else:
            found.append((line.offset, line.count))
    return found


def shown(recorded):
    """The recording with @T in the place of each stamp and its space."""
    return re.sub(rb"^\d{10}\.\d{6} ", b"@T ", recorded, flags=re.MULTILINE)


def dialogue(recorded):
    """Who said what, in order: direction and whole line, pieces put together."""
    said = []
    begun = {"in": b"", "out": b""}
    for line in lines(recorded):
        begun[line.direction] += line.text
        if line.kind == ":":
            said.append((line.direction, begun[line.direction]))
            begun[line.direction] = b""
    said += [(direction, rest) for direction, rest in begun.items() if rest]
    return said
