"""What goes wrong around the relays while they work."""

import contextlib
import os
import random
import signal
import threading
import time


class Fault:
    """One that was done: `relays` are those that may lose recordings through it (and nothing else, ever), from `begin`
    to `end`; `may` is what becomes of those recordings."""

    def __init__(self, name, relays=(), may=(), grace=0.0):
        self.name = name
        self.relays = tuple(relays)
        self.may = tuple(may)
        self.begin = time.time()
        self.end = None
        self.grace = grace

    def touches(self, relay, recording, begin, end):
        """Whether it explains that a session's recording is not whole."""
        if relay not in self.relays or recording not in self.may:
            return False
        return begin <= (self.end or time.time()) + self.grace and end >= self.begin - 1


class Faults:
    """Two threads that draw faults and do them, each on something that nobody else has hold of."""

    def __init__(self, stage, seed, pause):
        self.stage = stage
        self.done = []
        self.errors = []
        self._pause = pause
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._locks = {}
        draws = [random.Random(f"faults {seed} {number}") for number in range(2)]
        self._threads = [threading.Thread(target=self._run, args=(draw,), daemon=True) for draw in draws]
        self._kinds = self._possible()

    def start(self):
        for thread in self._threads:
            thread.start()

    def stop(self):
        """Returns when everything that was broken is whole again."""
        self._stopping.set()
        for thread in self._threads:
            thread.join(60)
            if thread.is_alive():
                raise AssertionError("a fault does not end")
        if self.errors:
            raise self.errors[0]

    def lock(self, what):
        """Who has it may rely on this thing being whole."""
        with self._lock:
            return self._locks.setdefault(what, threading.Lock())

    def _possible(self):
        stage = self.stage
        kinds = [(self._backend_killed, name) for name in stage.backends]
        kinds += [(self._stopped, "backend", name) for name in stage.backends]
        kinds += [(self._clients_killed,), (self._stopped, "clients", None)]
        kinds += [(self._collector_killed,), (self._stopped, "collector", None)]
        kinds += [(self._relay_stopped, name) for name in stage.relays]
        kinds += [(self._hangup, name) for name in stage.relays]
        kinds += [(self._directory_moved, name) for name in stage.places]
        for name, place in stage.places.items():
            if place.mounted:
                kinds += [(self._disk_full, name)] * 2
            if place.kind == "ext4" and place.mounted:
                kinds += [(self._disk_hangs, name)] * 2
        if stage.mail_server:
            kinds.append((self._mail_server_restarted,))
        return kinds

    def _run(self, draw):
        while not self._stopping.wait(draw.uniform(0.3, 2) * self._pause):
            act, *arguments = draw.choice(self._kinds)
            try:
                act(draw, *arguments)
            except BaseException as error:
                self.errors.append(error)
                return

    @contextlib.contextmanager
    def _doing(self, what, fault):
        """Holds the thing, if nobody else does; yields whether to go on."""
        lock = self.lock(what)
        if not lock.acquire(blocking=False):
            yield False
            return
        try:
            fault.begin = time.time()
            with self._lock:
                self.done.append(fault)
            yield True
        finally:
            fault.end = time.time()
            lock.release()

    def _backend_killed(self, draw, name):
        with self._doing(f"backend {name}", Fault("backend-killed")) as going:
            if going:
                self.stage.end(self.stage.backends[name], signal.SIGKILL)
                time.sleep(draw.uniform(0.1, 3))
                self.stage.start_backend(name)

    def _stopped(self, draw, kind, name):
        number = draw.randrange(max(1, len(self.stage.clients)))
        what = f"{kind} {number if kind == 'clients' else name}" if kind != "collector" else kind
        fault = Fault(f"{kind}-stopped")
        if kind == "collector":
            fault = Fault(f"{kind}-stopped", ["collector"], ["lossy"], grace=15)
        with self._doing(what, fault) as going:
            if going:
                process = {"backend": lambda: self.stage.backends[name], "clients": lambda: self.stage.clients[number],
                           "collector": lambda: self.stage.collector}[kind]()
                process.send_signal(signal.SIGSTOP)
                time.sleep(draw.uniform(0.2, 6))
                process.send_signal(signal.SIGCONT)

    def _clients_killed(self, draw):
        number = draw.randrange(len(self.stage.clients))
        with self._doing(f"clients {number}", Fault("clients-killed")) as going:
            if going:
                self.stage.replace_clients(number)

    def _collector_killed(self, draw):
        # Connecting again is tried after pauses of up to ten seconds.
        with self._doing("collector", Fault("collector-killed", ["collector"], ["lossy"], grace=15)) as going:
            if going:
                self.stage.end(self.stage.collector, signal.SIGKILL)
                time.sleep(draw.uniform(0.1, 5))
                self.stage.start_collector()

    def _relay_stopped(self, draw, name):
        # What it hears of late, and what its disk could not take meanwhile, is nobody's loss.
        with self._doing(f"relay {name}", Fault("relay-stopped")) as going:
            if going:
                self.stage.relays[name].signal(signal.SIGSTOP)
                time.sleep(draw.uniform(0.1, 1.5))
                self.stage.relays[name].signal(signal.SIGCONT)

    def _hangup(self, draw, name):
        with self._doing(f"place {name}", Fault("hangup")) as going:
            if going:
                path = self.stage.relays[name].index_path
                with contextlib.suppress(FileNotFoundError):
                    os.rename(path, f"{path}.{len(self.done)}")
                self.stage.relays[name].signal(signal.SIGHUP)

    def _directory_moved(self, draw, name):
        # A directory that is open goes on being used, wherever it is.
        with self._doing(f"place {name}", Fault("directory-moved")) as going:
            if going:
                directory = self.stage.places[name].directory
                os.rename(directory, directory + ".moved")
                time.sleep(draw.uniform(0.5, 4))
                os.rename(directory + ".moved", directory)

    def _disk_full(self, draw, name):
        with self._doing(f"place {name}", Fault("disk-full", [name], ["failed"], grace=1)) as going:
            if going:
                try:
                    self.stage.places[name].fill()
                    time.sleep(draw.uniform(0.5, 6))
                finally:
                    self.stage.places[name].free()

    def _disk_hangs(self, draw, name):
        with self._doing(f"place {name}", Fault("disk-hangs", [name], ["lossy"], grace=5)) as going:
            if going:
                self.stage.places[name].freeze()
                try:
                    time.sleep(draw.uniform(0.2, 5))
                finally:
                    self.stage.places[name].thaw()

    def _mail_server_restarted(self, draw):
        with self._doing("mail server", Fault("mail-server-restarted")) as going:
            if going:
                self.stage.mail_server.stop()
                time.sleep(draw.uniform(0.1, 2))
                self.stage.mail_server.start()
