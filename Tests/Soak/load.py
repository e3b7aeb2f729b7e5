"""What many sessions cost: memory of idle ones, connects in a second, what a stalled peer does to the others.

Prints a table and, with --output, JSON. Nothing is judged: what else the machine does is in the figures."""

import argparse
import heapq
import json
import multiprocessing
import os
import platform
import resource
import select
import socket
import statistics
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), "EndToEnd"))

from relay import Relay, run, wait_until

# That client never comes: nobody is recorded. The layout has no file a session, so more of them fit the descriptors.
PLAIN = ("--only", "192.0.2.1", "--relay", "copy", "--layout", "pcapng")
SUBJECTS = {"plain": PLAIN, "pcapng": ("--layout", "pcapng"), "pair": ()}
MESSAGE = b"x" * 63 + b"\n"
# Unused staging memory is given back after five to ten seconds.
SETTLE_SECONDS = 11


def serve(queue):
    """Greets with a byte and echoes; one that says `F` is sent bytes without end, one that says `Q` is closed."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=4096)
    listener.setblocking(False)
    queue.put(listener.getsockname()[1])
    poll = select.epoll()
    poll.register(listener, select.EPOLLIN)
    open_sockets = {}

    def flood(connection):
        try:
            connection.send(bytes(1 << 18))
        except BlockingIOError:
            pass
    while True:
        for descriptor, event in poll.poll():
            if descriptor == listener.fileno():
                for _ in range(64):
                    try:
                        connection = listener.accept()[0]
                    except BlockingIOError:
                        break
                    connection.setblocking(False)
                    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                    open_sockets[connection.fileno()] = connection
                    poll.register(connection, select.EPOLLIN)
                    connection.send(b"+")
                continue
            connection = open_sockets[descriptor]
            try:
                if event & select.EPOLLOUT:
                    flood(connection)
                    continue
                data = connection.recv(65536)
                if data[:1] == b"F":
                    poll.modify(connection, select.EPOLLIN | select.EPOLLOUT)
                    continue
                if data[:1] == b"Q":
                    data = b""
                elif data:
                    connection.send(data)
                    continue
            except OSError:
                data = b""
            if not data:
                del open_sockets[descriptor]
                connection.close()


class Server:
    """A process of the load, ended with the block."""

    def __enter__(self):
        queue = multiprocessing.Queue()
        self.process = multiprocessing.Process(target=serve, args=(queue,), daemon=True)
        self.process.start()
        self.port = queue.get(timeout=20)
        self.address = f"127.0.0.1:{self.port}"
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.join()


def greeted(port):
    client = socket.create_connection(("127.0.0.1", port))
    client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if client.recv(1) != b"+":
        raise AssertionError("no greeting")
    return client


def private_bytes(pid):
    with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as file:
        return sum(int(line.split()[1]) << 10 for line in file if line.startswith("Private_"))


def kernel_bytes():
    """Slabs (sockets, files, requests), and the pages of TCP's buffers."""
    with open("/proc/meminfo", encoding="ascii") as file:
        slab = next(int(line.split()[1]) << 10 for line in file if line.startswith("Slab:"))
    with open("/proc/net/sockstat", encoding="ascii") as file:
        tcp = next(line.split() for line in file if line.startswith("TCP:"))
    return slab + int(tcp[tcp.index("mem") + 1]) * resource.getpagesize()


# Idle sessions.

def idle(subject, sessions):
    """Bytes a session: of the program, and of the kernel beside what the same clients cost without a relay."""
    with Server() as server:
        base = kernel_bytes()
        clients = [greeted(server.port) for _ in range(sessions)]
        direct = (kernel_bytes() - base) / sessions
        for client in clients:
            client.close()
    time.sleep(2)
    with Server() as server, tempfile.TemporaryDirectory(dir="/dev/shm") as directory:
        with Relay(server.address, *SUBJECTS[subject], directory=directory) as relay:
            clients = [greeted(relay.port) for _ in range(sessions // 10)]
            time.sleep(SETTLE_SECONDS)
            first, base = private_bytes(relay.pid), kernel_bytes()
            more = [greeted(relay.port) for _ in range(sessions - len(clients))]
            time.sleep(SETTLE_SECONDS)
            user = (private_bytes(relay.pid) - first) / len(more)
            kernel = (kernel_bytes() - base) / len(more) - direct
            for client in clients + more:
                client.close()
            relay.wait_ends(sessions, 120)
    return {"subject": subject, "sessions": sessions, "user_bytes": round(user), "kernel_bytes": round(kernel)}


# Connects.

def connect_paced(port, rate, seconds, queue):
    """Connects at a rate, waits for the server's greeting, asks it to close, and closes: who closes first keeps the
    ports for a minute, and that is neither client nor relay."""
    poll = select.epoll()
    waiting, closing, latencies = {}, {}, []
    refused, number = 0, 0
    total = int(rate * seconds)
    begin = time.monotonic()
    while (number < total or waiting) and time.monotonic() - begin < seconds + 30:
        now = time.monotonic()
        while number < total and begin + number / rate <= now:
            client = socket.socket()
            client.setblocking(False)
            client.connect_ex(("127.0.0.1", port))
            # From the moment at which it was to be: a client that is behind cannot hide a relay that is.
            waiting[client.fileno()] = (client, begin + number / rate)
            poll.register(client, select.EPOLLIN)
            number += 1
        for descriptor, _ in poll.poll(0.0005 if number < total else 1):
            if descriptor in closing:
                closing.pop(descriptor).close()
                continue
            client, since = waiting.pop(descriptor)
            try:
                if client.recv(1) == b"+":
                    latencies.append(time.monotonic() - since)
                    client.send(b"Q")
                    closing[descriptor] = client
                    continue
            except OSError:
                pass
            refused += 1
            client.close()
    took = time.monotonic() - begin
    for client in closing.values():
        client.setblocking(True)
        client.recv(1)
        client.close()
    queue.put((latencies, refused + len(waiting), took))


def drops():
    """How often a listen backlog was full, and connections or SYNs were dropped for it, on this machine."""
    with open("/proc/net/netstat", encoding="ascii") as file:
        names, values = [line.split() for line in file if line.startswith("TcpExt:")][:2]
    counts = dict(zip(names, values))
    return int(counts["ListenOverflows"]) + int(counts["ListenDrops"])


def connects(subject, rate, seconds):
    with Server() as server, tempfile.TemporaryDirectory(dir="/dev/shm") as directory:
        with Relay(server.address, *SUBJECTS[subject], directory=directory) as relay:
            queue = multiprocessing.Queue()
            before = drops()
            process = multiprocessing.Process(target=connect_paced, args=(relay.port, rate, seconds, queue))
            process.start()
            latencies, refused, took = queue.get(timeout=seconds + 60)
            process.join()
            dropped = drops() - before
            relay.wait_ends(len(latencies), 120)
    latencies.sort()
    return {"subject": subject, "wanted_per_second": rate, "connects": len(latencies), "not_answered": refused,
            "per_second": round(len(latencies) / took), "backlog_drops": dropped,
            "p50_ms": round(latencies[len(latencies) // 2] * 1000, 2),
            "p99_ms": round(latencies[len(latencies) * 99 // 100] * 1000, 2)}


# A stalled peer.

def answers(clients, rate, seconds):
    """Questions of all clients in turn, at a rate; the time to each answer."""
    poll = select.epoll()
    for client in clients:
        poll.register(client, select.EPOLLIN)
    by_descriptor = {client.fileno(): client for client in clients}
    asked, latencies, number = {}, [], 0
    begin = time.monotonic()
    while (now := time.monotonic()) - begin < seconds or asked:
        if now - begin < seconds and begin + number / rate <= now:
            client = clients[number % len(clients)]
            number += 1
            if client.fileno() not in asked:
                asked[client.fileno()] = time.monotonic()
                client.send(MESSAGE)
        for descriptor, _ in poll.poll(max(0, min(0.01, begin + number / rate - time.monotonic()))):
            by_descriptor[descriptor].recv(4096)
            latencies.append(time.monotonic() - asked.pop(descriptor))
    return heapq.nlargest(max(1, len(latencies) // 100), latencies)[-1]


def stalled(subject, sessions, rounds, seconds, rate):
    """The 99th percentile of the others' answers, without and with one peer that does not read, in turns."""
    ratios, without, with_one = [], [], []
    with Server() as server, tempfile.TemporaryDirectory(dir="/dev/shm") as directory:
        with Relay(server.address, *SUBJECTS[subject], directory=directory) as relay:
            clients = [greeted(relay.port) for _ in range(sessions - 1)]
            answers(clients, rate, seconds)
            for number in range(rounds):
                def measure(is_stalled):
                    if not is_stalled:
                        return answers(clients, rate, seconds)
                    peer = greeted(relay.port)
                    peer.send(b"F")
                    time.sleep(0.5)
                    try:
                        return answers(clients, rate, seconds)
                    finally:
                        peer.close()
                order = (False, True) if number % 2 else (True, False)
                found = {each: measure(each) for each in order}
                without.append(found[False] * 1000)
                with_one.append(found[True] * 1000)
                ratios.append(found[True] / found[False])
            for client in clients:
                client.close()
            wait_until(lambda: len(relay.records("end")) >= sessions - 1, 60, "the sessions to end")
    return {"subject": subject, "sessions": sessions, "rounds": rounds, "p99_ms": round(statistics.median(without), 3),
            "p99_ms_with_a_stalled_peer": round(statistics.median(with_one), 3),
            "ratio": round(statistics.median(ratios), 3),
            "ratio_spread": [round(min(ratios), 3), round(max(ratios), 3)]}


# Hostile peers.

def cpu_seconds(pid):
    """The process's CPU time, threads of the kernel that work for it included."""
    return time.clock_gettime(~pid << 3 | 2)


def dribbling(sessions):
    """Logins that come byte by byte and never end: CPU for each byte, and memory for each of them then."""
    text = b"a LOGIN alice {1000}"
    with Server() as server, tempfile.TemporaryDirectory(dir="/dev/shm") as directory:
        with Relay(server.address, "--protocol", "imap", "--layout", "pcapng", directory=directory) as relay:
            first = greeted(relay.port)
            time.sleep(SETTLE_SECONDS)
            memory, cpu = private_bytes(relay.pid), cpu_seconds(relay.pid)
            clients = [greeted(relay.port) for _ in range(sessions)]
            cpu = cpu_seconds(relay.pid)
            for byte in text:
                for client in clients:
                    client.send(bytes([byte]))
            for client in clients:
                received = 0
                while received < len(text):
                    received += len(client.recv(4096))
            # The server's echo comes byte by byte as well.
            cpu = (cpu_seconds(relay.pid) - cpu) / (2 * len(text) * sessions)
            time.sleep(SETTLE_SECONDS)
            memory = (private_bytes(relay.pid) - memory) / sessions
            for client in [first, *clients]:
                client.close()
    return {"subject": "a login byte by byte", "sessions": sessions, "user_bytes": round(memory),
            "cpu_us_a_byte": round(cpu * 1e6, 2)}


def unread(sessions):
    """Clients that have bytes without end sent to them and read none: memory then, of all together."""
    with Server() as server, tempfile.TemporaryDirectory(dir="/dev/shm") as directory:
        with Relay(server.address, *SUBJECTS["plain"], directory=directory) as relay:
            before = private_bytes(relay.pid)
            clients = [greeted(relay.port) for _ in range(sessions)]
            for client in clients:
                client.send(b"F")
            time.sleep(SETTLE_SECONDS)
            cpu = cpu_seconds(relay.pid)
            time.sleep(5)
            cpu = (cpu_seconds(relay.pid) - cpu) / 5
            memory = private_bytes(relay.pid) - before
            for client in clients:
                client.close()
    return {"subject": "a window that stays zero", "sessions": sessions, "user_bytes_of_all": memory,
            "cpu_ms_a_second_of_all": round(cpu * 1000, 3)}


def main():
    parser = argparse.ArgumentParser(prog="load", description=__doc__.splitlines()[0])
    parser.add_argument("--tiny", action="store_true", help="only that it works, in seconds; no figures")
    parser.add_argument("--only", choices=("idle", "connects", "stalled", "hostile"), help="only this measurement")
    parser.add_argument("--output", help="write the result to this file")
    arguments = parser.parse_args()
    descriptors = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (descriptors[1], descriptors[1]))
    most = 200 if arguments.tiny else 10_000
    # Two sockets each, and two files with `pair`; the relay keeps some for itself.
    room = descriptors[1] - 100
    result = {"program": run("--version")[1].strip(), "kernel": platform.release(), "cores": os.cpu_count(),
              "date": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), "descriptors": descriptors[1]}
    if arguments.tiny:
        globals()["SETTLE_SECONDS"] = 1
        rate, seconds, others = 200, 1, (20, 2, 0.5, 200)
    else:
        rate, seconds, others = 5000, 5, (1000, 9, 4, 2000)
    plan = [("idle", [(idle, subject, min(most, room // (4 if subject == "pair" else 2))) for subject in SUBJECTS]),
            ("connects", [(connects, subject, rate, seconds) for subject in SUBJECTS]),
            ("stalled", [(stalled, subject, *others) for subject in ("plain", "pair")]),
            ("hostile", [(dribbling, most // 10), (unread, 1), (unread, most // 10)])]
    for name, measurements in plan:
        if arguments.only not in (None, name):
            continue
        result[name] = []
        for function, *values in measurements:
            found = function(*values)
            result[name].append(found)
            print(name + ": " + ", ".join(f"{key} {value}" for key, value in found.items()), flush=True)
    if arguments.output:
        with open(arguments.output, "w", encoding="ascii") as file:
            json.dump(result, file, indent=1)
            file.write("\n")


if __name__ == "__main__":
    main()
