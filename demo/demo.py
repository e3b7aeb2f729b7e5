"""Shows the recorder at work: one IMAP session through it, and what it wrote.

    python3 demo/demo.py PATH-OF-URING-RAWLOG

Starts a small mail server (imap_responder.py) and the recorder in front of it, lets Python's own IMAP
client read a message, and prints the recordings. Nothing is left behind.
"""

import contextlib
import imaplib
import json
import os
import queue
import re
import signal
import stat
import subprocess
import sys
import tempfile
import threading
import time

# The import must not leave a directory of compiled files beside the sources.
sys.dont_write_bytecode = True

import imap_responder

SECONDS = 30  # the longest that any step may take
USAGE, NO_INPUT, FAILED, INTERRUPTED = 64, 66, 1, 130
STAMP = re.compile(rb"\d{10}\.\d{6} ")
STAMP_LENGTH = 18


class Failure(Exception):
    """Something in the chain did not work; the text is for the user."""


class NotingClient(imaplib.IMAP4):
    """Python's IMAP client, which also notes each byte that it sends and receives."""

    def __init__(self, *arguments, **keywords):
        self.sent = bytearray()
        self.received = bytearray()
        super().__init__(*arguments, **keywords)

    def send(self, data):
        self.sent += data
        super().send(data)

    def read(self, size):
        data = super().read(size)
        self.received += data
        return data

    def readline(self):
        line = super().readline()
        self.received += line
        return line


    def logout(self):
        # The library stops reading at the server's BYE; the tagged answer behind it belongs to the session too.
        answer = self.xatom("LOGOUT")
        while self.readline():
            pass
        self.shutdown()
        return answer


class Process:
    """A program that was started here and is ended here; its lines can be waited for."""

    def __init__(self, name, command, **keywords):
        self.name = name
        try:
            self.process = subprocess.Popen(command, **keywords)
        except OSError as error:
            raise Failure(f"cannot start {command[0]}: {error.strerror}") from None
        self.lines = []
        self._queue = queue.Queue()
        self._stream = self.process.stderr or self.process.stdout
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self):
        for line in self._stream:
            self._queue.put(line.decode("utf-8", "replace").rstrip("\n"))
        self._queue.put(None)

    def wait_for_line(self, pattern):
        """The first line that is all of `pattern`, as a match."""
        end = time.monotonic() + SECONDS
        while True:
            try:
                line = self._queue.get(timeout=max(0, end - time.monotonic()))
            except queue.Empty:
                raise Failure(f"{self.name} was not ready within {SECONDS} s") from None
            if line is None:
                raise Failure(f"{self.name} ended early: {self.said()}")
            self.lines.append(line)
            match = re.fullmatch(pattern, line)
            if match:
                return match

    def said(self):
        return escaped(" / ".join(self.lines).encode()) or "it said nothing"

    def terminate(self):
        """SIGTERM, then its exit code."""
        self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(SECONDS)
        except subprocess.TimeoutExpired:
            raise Failure(f"{self.name} did not end within {SECONDS} s") from None

    def close(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self._reader.join(5)
        for stream in (self.process.stdin, self.process.stdout, self.process.stderr):
            if stream:
                stream.close()


def escaped(data):
    """Bytes as text that does nothing to a terminal."""
    names = {0x09: "\\t", 0x0A: "\\n", 0x0D: "\\r"}
    return "".join(chr(b) if 0x20 <= b < 0x7F else names.get(b, f"\\x{b:02x}") for b in data)


def heading(text):
    print(f"\n=== {text}\n")


def print_lines(data):
    for line in data.split(b"\n"):
        if line:
            print("    " + escaped(line))


def without_stamps(recorded):
    """The bytes of a recording with -t."""
    lines = recorded.split(b"\n")
    for number, line in enumerate(lines):
        if number == len(lines) - 1 and not line:
            break
        if not STAMP.match(line):
            raise Failure(f"line {number + 1} of a recording has no time stamp: {escaped(line[:40])}")
        lines[number] = line[STAMP_LENGTH:]
    return b"\n".join(lines)


def read_file(path):
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError as error:
        raise Failure(f"cannot read {os.path.basename(path)}: {error.strerror}") from None


def run_session(port):
    """Logs in, reads the messages, logs out. Returns the client with its notes."""
    try:
        client = NotingClient("127.0.0.1", port, timeout=SECONDS)
        try:
            client.login(imap_responder.USER, imap_responder.PASSWORD)
            status, data = client.select("INBOX")
            if status != "OK" or data != [b"%d" % len(imap_responder.MESSAGES)]:
                raise Failure(f"INBOX did not open: {status} {data}")
            for number, message in enumerate(imap_responder.MESSAGES, 1):
                status, data = client.fetch(str(number), "(BODY[])")
                if status != "OK" or data[0][1] != message:
                    raise Failure(f"message {number} did not arrive as it is: {status}")
            client.logout()
        finally:
            with contextlib.suppress(OSError):
                client.shutdown()
    except (OSError, imaplib.IMAP4.error) as error:
        raise Failure(f"the mail session failed: {error}") from None
    return client


def check_index(text):
    """The start and the end record of the one session."""
    try:
        start, end = [json.loads(line) for line in text.splitlines()]
        if (start["event"], end["event"]) != ("start", "end") or start["id"] != end["id"]:
            raise ValueError
        if end["recording"] != "complete":
            raise Failure(f"the index says that the recording is {escaped(str(end['recording']).encode())}")
        return end
    except (ValueError, KeyError, TypeError):
        raise Failure("the index has no start and end of one session: " + escaped(text)) from None


def demonstrate(program, stack):
    directory = stack.enter_context(tempfile.TemporaryDirectory(prefix="uring-rawlog-demo-"))
    here = os.path.dirname(os.path.abspath(__file__))

    server = Process("the mail server", [sys.executable, os.path.join(here, "imap_responder.py")],
                     stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    stack.callback(server.close)
    server_port = server.wait_for_line(r"(\d+)").group(1)
    print(f"A small mail server listens on 127.0.0.1:{server_port}.")

    options = ["--listen", "127.0.0.1:0", "--connect", f"127.0.0.1:{server_port}", "--dir", directory, "-t"]
    recorder = Process("the recorder", [program, *options], stdin=subprocess.DEVNULL, stderr=subprocess.PIPE)
    stack.callback(recorder.close)
    port = int(recorder.wait_for_line(r"uring-rawlog: listening on 127\.0\.0\.1:(\d+)").group(1))
    print(f"The recorder listens on 127.0.0.1:{port} and relays to it.")
    print("It was started as:\n")
    print("    uring-rawlog " + " ".join(options))

    client = run_session(port)
    print(f"\nPython's imaplib logged in through it, read {len(imap_responder.MESSAGES)} messages and logged out.")

    status = recorder.terminate()
    if status != 0:
        raise Failure(f"the recorder ended with exit code {status}: {recorder.said()}")
    print("The recorder was told to end (SIGTERM) and has written everything.")

    index = read_file(os.path.join(directory, "sessions.jsonl"))
    stem = str(check_index(index)["id"])
    for direction, title, expected in (("in", "what the client sent", client.sent),
                                       ("out", "what the server answered", client.received)):
        path = os.path.join(directory, f"{stem}.{direction}")
        recorded = read_file(path)
        heading(f"{stem}.{direction}: {title}")
        print_lines(recorded)
        if without_stamps(recorded) != expected:
            raise Failure(f"the recording .{direction} is not {title}")
        if stat.S_IMODE(os.stat(path).st_mode) != 0o600:
            raise Failure(f"the recording .{direction} can be read by others")

    heading("sessions.jsonl: the index, one line at a session's start and one at its end")
    print_lines(index)

    heading("What this shows")
    password = imap_responder.PASSWORD.encode()
    lines = read_file(os.path.join(directory, f"{stem}.in")).split(b"\n")
    places = [number for number, line in enumerate(lines, 1) if password in line]
    if not places:
        raise Failure("the password should be in the recording, and is not")
    print("Without the stamps, both recordings equal what the client sent and received.")
    print("Each line begins with its time, in seconds since 1970.")
    print("Control and 8-bit bytes are shown escaped here; the files hold them as they were.")
    print(f"Line {places[0]} of the .in file holds the password:")
    print("this recording contains the password in clear; files are 0600.")


def main(arguments):
    if len(arguments) != 1:
        print("demo: usage: demo.py PATH-OF-URING-RAWLOG", file=sys.stderr)
        return USAGE
    program = os.path.abspath(arguments[0])
    if not os.path.isfile(program):
        print(f"demo: there is no program {arguments[0]}; build it first, with `swift build -c release`",
              file=sys.stderr)
        return NO_INPUT
    try:
        with contextlib.ExitStack() as stack:
            demonstrate(program, stack)
    except Failure as failure:
        sys.stdout.flush()
        print(f"demo: failed: {failure}", file=sys.stderr)
        return FAILED
    except KeyboardInterrupt:
        return INTERRUPTED
    print("\nThe demonstration's directory has been removed.")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
