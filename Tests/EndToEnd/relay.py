"""Starts the built program for a test and ends it again, by pid."""

import json
import os
import re
import signal
import subprocess
import tempfile
import threading
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
PROGRAM = os.environ.get("URING_RAWLOG", os.path.join(ROOT, ".build", "release", "uring-rawlog"))
# The engine that all relays are started with which name none: `make test-epoll` runs the same tests on the other one.
ENGINE = os.environ.get("URING_RAWLOG_ENGINE")


def wait_until(condition, seconds=20, what="condition"):
    """Polls until `condition()` is true and returns its value."""
    end = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"timed out waiting for {what}")
        time.sleep(0.02)


class Relay:
    """One running `uring-rawlog relay`; a context manager.

    `listen` may use port 0: `addresses` holds what the program said that it listens on, in order.
    `directory` is made (and removed at the end) unless it is given.
    """

    def __init__(self, connect, *options, listen=("127.0.0.1:0",), directory=None, wait=True, env=None,
                 prefix=(), pass_fds=(), preexec_fn=None, index=None, directory_option=None):
        self._temporary = None
        if directory is None:
            self._temporary = tempfile.TemporaryDirectory(prefix="uring-rawlog-test-")
            directory = self._temporary.name
        self.directory = directory
        self.index_path = os.path.join(index or directory, "sessions.jsonl")
        command = [*prefix, PROGRAM, "--connect", connect, "--dir", directory_option or directory]
        for address in listen:
            command += ["--listen", address]
        command += [str(o) for o in options]
        if ENGINE and "--engine" not in command:
            command += ["--engine", ENGINE]
        self.command = command
        environment = dict(os.environ)
        environment.update(env or {})
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                        stderr=subprocess.PIPE, env=environment, pass_fds=pass_fds,
                                        preexec_fn=preexec_fn)
        self.pid = self.process.pid
        self.lines = []
        self.addresses = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        if wait:
            try:
                wait_until(lambda: len(self.addresses) >= len(listen) or self.process.poll() is not None,
                           what="the relay to listen")
                if self.process.poll() is not None:
                    self._reader.join(5)
                    raise AssertionError(f"the relay ended with {self.process.returncode}: {self.lines}")
            except BaseException:
                self.close()
                raise

    def _read(self):
        for raw in self.process.stderr:
            line = raw.decode("utf-8", "replace").rstrip("\n")
            match = re.fullmatch(r"uring-rawlog: listening on (\S+)", line)
            if match:
                self.addresses.append(match.group(1))
            self.lines.append(line)

    @property
    def port(self):
        """The port of the first address."""
        return int(self.addresses[0].rsplit(":", 1)[1])

    @property
    def address(self):
        return ("127.0.0.1", self.port)

    @property
    def stderr(self):
        return "\n".join(self.lines)

    def records(self, event=None):
        """The index: every record, or those of one event."""
        try:
            with open(self.index_path, encoding="utf-8") as file:
                # A write under way may be seen in part: what has no line feed yet is still to come.
                whole = file.read().rpartition("\n")[0]
                records = [json.loads(line) for line in whole.splitlines() if line]
        except FileNotFoundError:
            return []
        return [r for r in records if event is None or r["event"] == event]

    def wait_ends(self, count, seconds=30):
        """Waits until `count` sessions have an end record and returns these."""
        wait_until(lambda: len(self.records("end")) >= count, seconds, f"{count} end records")
        return self.records("end")

    def recording(self, record, direction):
        """The bytes of one file of a session: direction is 'in' or 'out'."""
        with open(os.path.join(self.directory, f"{record['id']}.{direction}"), "rb") as file:
            return file.read()

    def resident_bytes(self):
        with open(f"/proc/{self.pid}/status", encoding="ascii") as file:
            for line in file:
                if line.startswith("VmRSS:"):
                    return int(line.split()[1]) * 1024
        raise AssertionError("no VmRSS")

    def descriptors(self):
        return len(os.listdir(f"/proc/{self.pid}/fd"))

    def signal(self, number):
        os.kill(self.pid, number)

    def terminate(self, seconds=40):
        """SIGTERM, then waits; returns the exit code."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return self.wait(seconds)

    def wait(self, seconds=40):
        try:
            self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise AssertionError(f"the relay did not end; it said: {self.lines}") from None
        self._reader.join(5)
        return self.process.returncode

    def close(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self._reader.join(5)
        self.process.stderr.close()
        self.process.stdout.close()
        if self._temporary:
            self._temporary.cleanup()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def run(*arguments, timeout=60, **keywords):
    """Runs the program to its end: exit code, standard output, standard error."""
    done = subprocess.run([PROGRAM, *[str(a) for a in arguments]], stdin=subprocess.DEVNULL,
                          capture_output=True, timeout=timeout, **keywords)
    return done.returncode, done.stdout.decode("utf-8", "replace"), done.stderr.decode("utf-8", "replace")
