"""What the soak runs: file systems, relays, and the processes around them."""

import contextlib
import fcntl
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

import accounts
from dovecot import Dovecot
from dovecot import why_unavailable as why_no_dovecot
from relay import Relay, wait_until
from tls import Certificates
from tls import why_unavailable as why_no_openssl

HERE = os.path.dirname(os.path.abspath(__file__))
FREEZE, THAW = 0xC0045877, 0xC0045878  # FIFREEZE, FITHAW of linux/fs.h
# How often each relay gets a session. One entry more or less changes which session goes where.
SHARES = {"pair": 5, "captures": 5, "collector": 3, "tls": 3, "mail": 2}


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return taken.getsockname()[1]


class Place:
    """Where one relay records. With a file system of its own it can be filled, and perhaps made to hang."""

    def __init__(self, directory, mounted=None, kind=None):
        self.root = directory
        self.directory = os.path.join(directory, "recordings")
        self.mounted = mounted
        self.kind = kind
        os.mkdir(self.directory, 0o700)

    def fill(self):
        """Takes all space but a few pages, so that writes fail in the middle."""
        with open(os.path.join(self.root, "filler"), "wb", buffering=0) as file:
            for size in (1 << 20, 1 << 12):
                with contextlib.suppress(OSError):
                    while True:
                        file.write(bytes(size))

    def free(self):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(os.path.join(self.root, "filler"))

    def _ioctl(self, number):
        root = os.open(self.root, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.ioctl(root, number, 0)
        finally:
            os.close(root)

    def freeze(self):
        self._ioctl(FREEZE)

    def thaw(self):
        with contextlib.suppress(OSError):
            self._ioctl(THAW)


class Stage:
    """A context manager. `left_out` says what this machine cannot do."""

    def __init__(self, seed, directory, rate):
        self.seed = seed
        self.rate = rate
        self.left_out = []
        self.closing = contextlib.ExitStack()
        # In memory: tens of thousands of files come and go.
        self.work = tempfile.mkdtemp(prefix="uring-rawlog-soak-", dir="/dev/shm" if os.path.isdir("/dev/shm") else None)
        self.closing.callback(shutil.rmtree, self.work, True)
        self.captures = tempfile.mkdtemp(prefix="uring-rawlog-soak-", dir=directory)
        self.closing.callback(shutil.rmtree, self.captures, True)
        self.relays, self.places, self.listing = {}, {}, []
        self.backends, self.ports, self.clients = {}, {}, []
        self.collector = None
        self.numbers = 1

    def __enter__(self):
        try:
            self._start()
        except BaseException:
            self.closing.close()
            raise
        return self

    def __exit__(self, *_):
        self.closing.close()

    # File systems.

    def path(self, name):
        return os.path.join(self.work, name)

    def _mount(self, name, *command):
        directory = self.path(name)
        os.mkdir(directory)
        done = subprocess.run(["mount", *command, directory], capture_output=True, text=True, check=False)
        if done.returncode != 0:
            self.left_out.append(f"a full {name}: {done.stderr.strip()}")
            return Place(directory)
        self.closing.callback(wait_until, lambda: subprocess.run(["umount", directory], capture_output=True,
                                                                 check=False).returncode == 0, what=directory)
        return Place(directory, mounted=directory, kind=name)

    def _disk(self):
        if shutil.which("mkfs.ext4") is None:
            self.left_out.append("a full disk and a hanging one: there is no mkfs.ext4")
            os.mkdir(self.path("ext4"))
            return Place(self.path("ext4"))
        image = self.path("image")
        with open(image, "wb") as file:
            file.truncate(768 << 20)
        subprocess.run(["mkfs.ext4", "-q", "-F", "-m", "0", "-N", "100000", image], check=True)
        place = self._mount("ext4", "-o", "loop", image)
        if place.mounted:
            self.closing.callback(place.thaw)
        return place

    def _place(self, name):
        os.mkdir(self.path(name))
        return Place(self.path(name))

    # Processes.

    def _start(self):
        accounts.create(self.path("clients"))
        accounts.create(self.path("servers"))
        self.settings = {"seed": self.seed, "clients": self.path("clients"), "servers": self.path("servers"),
                         "mailboxes": self.path("mailboxes"), "authority": None}
        open(self.settings["mailboxes"], "wb").close()
        for name in ("one", "two"):
            self.ports[name] = free_port()
        self.ports["collector"] = free_port()
        os.mkdir(self.path("collected"))
        self._start_relays()
        names = [name for name in SHARES if name in self.relays for _ in range(SHARES[name])]
        # Far apart, so that a second has sessions for all of them.
        self.listing = [names[place * 7 % len(names)] for place in range(len(names))]
        self.settings["relays"] = [{"port": self.relays[name].port, "tls": name == "tls",
                                    "protocol": "imap" if name == "mail" else "raw"} for name in self.listing]
        self.settings["tls"] = [name == "tls" for name in self.listing]
        with open(self.path("settings"), "w", encoding="ascii") as file:
            json.dump(self.settings, file)
        self.closing.callback(self.end_processes)
        for name in ("one", "two"):
            self.start_backend(name)
        self.start_collector()

    def _relay(self, name, connect, *options, place=None, **keywords):
        if place:
            self.places[name] = place
            keywords["directory"] = place.directory
        relay = Relay(connect, *options, "--drain", "20s", **keywords)
        self.closing.callback(relay.close)
        self.relays[name] = relay

    def _start_relays(self):
        one, two = (f"127.0.0.1:{self.ports[name]}" for name in ("one", "two"))
        self._relay("pair", one, "--log-memory", "16M", place=self._disk())
        self._relay("captures", two, "--layout", "pcapng", "--rotate-size", "16M", place=Place(self.captures))
        os.mkdir(self.path("index"))
        os.mkdir(self.path("unused"))
        self._relay("collector", two, "--layout", "merged", "--index", self.path("index"),
                    directory=self.path("unused"), index=self.path("index"),
                    directory_option=f"tcp:127.0.0.1:{self.ports['collector']}")
        if reason := why_no_openssl():
            self.left_out.append(f"TLS: {reason}")
        else:
            certificates = Certificates()
            self.settings["authority"] = certificates.path("authority")
            self._relay("tls", one, "-t", *certificates.pair(),
                        place=self._mount("tmpfs", "-t", "tmpfs", "-o", "size=128m,mode=0700", "tmpfs"))
        self.mail_server = None
        if reason := why_no_dovecot():
            self.left_out.append(f"real mail: {reason}")
        else:
            self.mail_server = Dovecot(protocols=("imap",))
            self.closing.callback(self.mail_server.close)
            self.mail_server.start()
            self._relay("mail", "127.0.0.1:%d" % self.mail_server.ports["imap"],
                        "--layout", "merged", "--protocol", "imap", place=self._place("mail"))

    def _process(self, script, *arguments):
        return subprocess.Popen([sys.executable, os.path.join(HERE, script), *map(str, arguments)],
                                stdin=subprocess.DEVNULL)

    def start_backend(self, name):
        self.backends[name] = self._process("backend.py", self.path("settings"), self.ports[name])
        self._wait_listening(self.ports[name], self.backends[name])

    def start_collector(self):
        self.collector = self._process("collecting.py", self.path("collected"), self.ports["collector"])
        self._wait_listening(self.ports["collector"], self.collector)

    @staticmethod
    def _wait_listening(port, process):
        def listens():
            if process.poll() is not None:
                raise AssertionError(f"{process.args[1]} ended with {process.returncode}")
            inodes = subprocess.run(["ss", "-Hltn", f"sport = :{port}"], capture_output=True, text=True, check=False)
            return bool(inodes.stdout.strip())
        wait_until(listens, what=f"somebody to listen on {port}")

    def start_clients(self, count):
        """So many processes of clients, which share the rate."""
        for _ in range(count):
            self.clients.append(self._clients(self.rate / count))

    def _clients(self, rate):
        process = self._process("clients.py", self.path("settings"), self.numbers, rate)
        process.rate = rate
        self.numbers += 50_000
        return process

    def replace_clients(self, number):
        """Kills one of the processes of clients, and starts another."""
        old = self.clients[number]
        self.end(old, signal.SIGKILL)
        self.clients[number] = self._clients(old.rate)

    def stop_clients(self, seconds):
        """No new sessions; waits for the last ones. Returns which processes did not end in time."""
        for process in self.clients:
            process.send_signal(signal.SIGTERM)
        end = time.monotonic() + seconds
        stuck = []
        for process in self.clients:
            try:
                process.wait(max(1, end - time.monotonic()))
            except subprocess.TimeoutExpired:
                stuck.append(process.pid)
                self.end(process, signal.SIGKILL)
        return stuck

    @staticmethod
    def end(process, number=signal.SIGTERM):
        if process and process.poll() is None:
            process.send_signal(number)
            process.send_signal(signal.SIGCONT)
            process.wait()

    def end_processes(self):
        for process in [*self.clients, *self.backends.values(), self.collector]:
            self.end(process, signal.SIGKILL)
