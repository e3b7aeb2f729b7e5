"""Runs `rawlog`, ours or Dovecot's own, in a scenario, and says what came of it."""

import contextlib
import json
import os
import pwd
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

from relay import ROOT, wait_until

OURS = os.environ.get("RAWLOG", os.path.join(ROOT, ".build", "release", "rawlog"))
ORIGINAL = "/usr/lib/dovecot/rawlog"
TARGET = os.path.join(os.path.dirname(os.path.abspath(__file__)), "rawlog_target.py")
# The one that runs the tests may lie where nobody but root comes.
PYTHON = shutil.which("python3", path="/usr/bin:/usr/local/bin:/bin") or sys.executable
TIMEOUT = 30  # only so that a failure ends

STAMP = re.compile(rb"(?m)^(<<<\n)?\d{10}\.\d{6} ")
NAME = re.compile(r"\d{8}-\d{6}-\d+")


def why_no_original():
    """A reason to skip what compares with Dovecot's rawlog, or None."""
    return None if os.access(ORIGINAL, os.X_OK) else f"{ORIGINAL} is not installed (Debian: dovecot-core)"


def unprivileged():
    """A user that is not root: (uid, gid); this one if it is not."""
    if os.geteuid() != 0:
        return os.geteuid(), os.getegid()
    nobody = pwd.getpwnam("nobody")
    return nobody.pw_uid, nobody.pw_gid


def without_times(recorded):
    """A recording with each stamp replaced by its number: which lines share one stays to be seen."""
    numbers = {}

    def replace(match):
        stamp = match.group(0)[-18:]
        return (match.group(1) or b"") + b"@%d " % numbers.setdefault(stamp, len(numbers))

    return STAMP.sub(replace, recorded)


def without_name(text):
    """A file name, or a message with one, without time and process."""
    return NAME.sub("TIME-PID", text)


def ends(pid):
    """Waits until a process that is no child of ours is gone."""
    wait_until(lambda: not os.path.exists(f"/proc/{pid}"), what=f"process {pid} to end")


class Home:
    """A user's home with (or without) `dovecot.rawlog`; a context manager. It belongs to `unprivileged()`."""

    def __init__(self, directory=True):
        self.base = tempfile.mkdtemp(prefix="rawlog-test-", dir="/dev/shm" if os.path.isdir("/dev/shm") else None)
        os.chmod(self.base, 0o755)
        self.path = os.path.join(self.base, "home")
        os.mkdir(self.path)
        self.directory = os.path.join(self.path, "dovecot.rawlog")
        if directory:
            os.mkdir(self.directory)
        self.give()

    def give(self):
        """Everything in it to the user."""
        if os.geteuid() != 0:
            return
        uid, gid = unprivileged()
        for parent, directories, files in os.walk(self.path):
            os.chown(parent, uid, gid)
            for name in directories + files:
                os.chown(os.path.join(parent, name), uid, gid, follow_symlinks=False)

    def files(self):
        """Names and contents of what is in the directory."""
        found = {}
        for name in sorted(os.listdir(self.directory)):
            with open(os.path.join(self.directory, name), "rb") as file:
                found[name] = file.read()
        return found

    def close(self):
        for parent, _, _ in os.walk(self.base):
            os.chmod(parent, 0o755)
        shutil.rmtree(self.base)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


class Session:
    """One run of `rawlog` with the target of these tests behind it and a client in front; a context manager.

    - `client` is the client's end: a unix socket, or TCP with `tcp`. With `pipes` it is a pair of pipes instead,
      `client_in` to write to and `client_out` to read from.
    - `home` is what HOME says, or None to leave it out. `environment` adds to that.
    - `identity` is a pair of uid and gid.
    """

    def __init__(self, program, *flags, home=None, environment=None, tcp=False, pipes=False, identity=None,
                 name="rawlog", target=None, before=None, send_buffer=None, pass_fds=(), cwd=None):
        self.program = program
        self.closing = contextlib.ExitStack()
        ours, theirs = socket.socketpair()
        self.control = ours
        self.control.settimeout(TIMEOUT)
        self.answers = ours.makefile("r")
        if pipes:
            standard_input, self.client_in = os.pipe()
            self.client_out, standard_output = os.pipe()
            self.client = None
        else:
            self.client, server = _connection(tcp)
            self.client.settimeout(TIMEOUT)
            if send_buffer:
                server.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, send_buffer)
            standard_input = standard_output = server.detach()
        variables = {"USER": "alice", "PATH": "/usr/bin:/bin"}
        if home is not None:
            variables["HOME"] = home
        variables.update(environment or {})
        identity = identity or unprivileged()

        def become():
            if os.geteuid() == 0 and identity[0] != 0:
                os.setgroups([])
                os.setgid(identity[1])
                os.setuid(identity[0])
            if before:
                before()

        command = [name, *flags, *(target or (PYTHON, "-S", "-E", TARGET, str(theirs.fileno())))]
        try:
            self.process = subprocess.Popen(command, executable=program, stdin=standard_input, stdout=standard_output,
                                            stderr=subprocess.PIPE, env=variables, preexec_fn=become, cwd=cwd,
                                            pass_fds=(theirs.fileno(), *pass_fds))
        finally:
            for descriptor in {standard_input, standard_output}:
                os.close(descriptor)
            theirs.close()

    # What the target does.

    def ask(self, *command):
        self.control.sendall((json.dumps(command) + "\n").encode("ascii"))

    def answer(self):
        line = self.answers.readline()
        if not line:
            raise AssertionError(f"the target is gone: {self.process.poll()}")
        return json.loads(line)

    def tell(self, *command):
        self.ask(*command)
        return self.answer()

    def target_reads(self, count):
        """What the target reads when it reads so many bytes; fewer when its input ends."""
        return bytes.fromhex(self.tell("read", count)["data"])

    def target_sees_end(self):
        return self.tell("read", 1)

    def target_writes(self, data):
        return self.tell("write", data.hex())

    def target_exits(self, status=0):
        self.ask("exit", status)

    # What the client does.

    def send(self, data):
        if self.client is None:
            os.write(self.client_in, data)
        else:
            self.client.sendall(data)

    def receive(self, count):
        received = bytearray()
        while len(received) < count:
            if self.client is None:
                data = os.read(self.client_out, count - len(received))
            else:
                data = self.client.recv(count - len(received))
            if not data:
                break
            received += data
        return bytes(received)

    def receive_all(self):
        received = bytearray()
        while True:
            data = self.client.recv(65536) if self.client else os.read(self.client_out, 65536)
            if not data:
                return bytes(received)
            received += data

    def end_sending(self):
        if self.client is None:
            os.close(self.client_in)
            self.client_in = None
        else:
            self.client.shutdown(socket.SHUT_WR)

    def reset(self):
        """The client breaks its connection."""
        import struct
        self.client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.client.close()

    def exchange(self, *pieces):
        """Each piece as one read on its way to the target (bytes) or, in a tuple, to the client."""
        for piece in pieces:
            if isinstance(piece, tuple):
                self.target_writes(piece[0])
                if self.receive(len(piece[0])) != piece[0]:
                    raise AssertionError(f"the client did not get {piece[0]!r}")
            else:
                self.send(piece)
                got = self.target_reads(len(piece))
                if got != piece:
                    raise AssertionError(f"the target did not get {piece!r}, but {got!r}")

    # The processes.

    @property
    def pid(self):
        """The target's, which is that of the process that was started."""
        return self.process.pid

    def recorders(self):
        """The processes that relay for this session: of the same program, and not the target itself."""
        found = []
        for name in os.listdir("/proc"):
            if not name.isdigit() or int(name) == self.pid:
                continue
            with contextlib.suppress(OSError):
                if os.readlink(f"/proc/{name}/exe") != os.path.realpath(self.program):
                    continue
                with open(f"/proc/{name}/cmdline", "rb") as file:
                    if b":%d rawlog]" % self.pid in file.read():
                        found.append(int(name))
        return found

    def recorder(self):
        return wait_until(self.recorders, what="the recorder")[0]

    def finish(self):
        """Closes the client, ends the target, and waits for the end of everything: (exit status, standard error)."""
        self.close_client()
        return self.wait()

    def close_client(self):
        if self.client is not None:
            self.client.close()
        for name in ("client_in", "client_out"):
            descriptor = getattr(self, name, None)
            if descriptor is not None:
                os.close(descriptor)
                setattr(self, name, None)

    def wait(self):
        """The target ends when nobody commands it any more."""
        self.control.shutdown(socket.SHUT_RDWR)
        try:
            self.process.wait(TIMEOUT)
        except subprocess.TimeoutExpired:
            raise AssertionError("the target does not end") from None
        # Whoever still has standard error, the recorder too, has ended when it has.
        errors = self.process.stderr.read().decode("utf-8", "replace")
        return self.process.returncode, errors.splitlines()

    def close(self):
        with contextlib.suppress(OSError):
            self.close_client()
        self.answers.close()
        self.control.close()
        if self.process.poll() is None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(2)
            if self.process.poll() is None:
                self.process.kill()
        self.process.wait()
        for pid in self.recorders():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.stderr.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def _connection(tcp):
    """Two connected sockets: the client's end and the server's."""
    if not tcp:
        return socket.socketpair()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        client = socket.create_connection(listener.getsockname())
        server, _ = listener.accept()
    return client, server


def run(program, *arguments, name="rawlog", environment=None, identity=None, **keywords):
    """Runs it to its end without a client: exit status, standard output, lines on standard error."""
    identity = identity or unprivileged()

    def become():
        if os.geteuid() == 0 and identity[0] != 0:
            os.setgroups([])
            os.setgid(identity[1])
            os.setuid(identity[0])

    done = subprocess.run([name, *arguments], executable=program, stdin=subprocess.DEVNULL, capture_output=True,
                          env=environment or {}, preexec_fn=become, timeout=TIMEOUT, check=False, **keywords)
    return done.returncode, done.stdout, done.stderr.decode("utf-8", "replace").splitlines()


def now():
    return time.time()
