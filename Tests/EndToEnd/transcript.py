"""Transcripts of `uring-rawlog show`, taken apart again."""

import re

LINE = re.compile(rb"(?:(?P<time>\d\d:\d\d:\d\d\.\d{6}| {15}) )?(?P<direction>in |out)(?P<read>[< ])(?P<place>[:+]) "
                  rb"(?P<text>.*)", re.DOTALL)
ESCAPE = re.compile(rb"\\x([0-9a-f]{2})")


class Line:
    """A line of what was sent."""

    def __init__(self, match):
        self.time = match["time"].decode() if match["time"] and match["time"].strip() else None
        self.direction = match["direction"].decode().strip()
        self.begins_read = match["read"] == b"<"
        self.continues = match["place"] == b"+"
        # As it was sent, but for the line end CR LF, which is not shown.
        self.bytes = ESCAPE.sub(lambda escape: bytes([int(escape[1], 16)]), match["text"])


class Transcript:
    """`headings`, `notes` and `lines` of the output of `show`; what is none of them is an error."""

    def __init__(self, output):
        self.output = output
        self.headings, self.notes, self.lines = [], [], []
        if output and not output.endswith(b"\n"):
            raise AssertionError("the last line has no end")
        for line in output.split(b"\n")[:-1]:
            if line.startswith(b"== "):
                self.headings.append(line[3:].decode())
            elif line.startswith(b"-- "):
                self.notes.append(line[3:].decode())
            else:
                match = LINE.fullmatch(line)
                if match is None:
                    raise AssertionError(f"not a line of a transcript: {line!r}")
                self.lines.append(Line(match))

    def stream(self, direction):
        """What was sent in one direction."""
        lines = [line for line in self.lines if line.direction == direction]
        unended = f"{direction}: the last line has no line feed" in self.notes
        data = bytearray()
        for number, line in enumerate(lines):
            data += line.bytes
            goes_on = lines[number + 1].continues if number + 1 < len(lines) else unended
            if not line.bytes.endswith(b"\n") and not goes_on:
                data += b"\r\n"
        return bytes(data)

    def dialogue(self):
        """Direction and text of each line."""
        return [(line.direction, line.bytes) for line in self.lines]
