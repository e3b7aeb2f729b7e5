"""The program that `rawlog` becomes in a test: it does on its descriptors 0 and 1 what it is told on another one.

Commands and answers are lines of JSON on the descriptor that its first argument names. A second argument is a file that
gets its process id; it may be left out.
"""

import json
import os
import select
import signal
import socket
import stat
import sys

control = socket.socket(fileno=int(sys.argv[1]))
commands = control.makefile("r")


def answer(**fields):
    control.sendall((json.dumps(fields) + "\n").encode("ascii"))


def read(count):
    """Exactly so many bytes, or all until the end or an error when fewer come."""
    received = bytearray()
    while len(received) < count:
        select.select([0], [], [])
        try:
            data = os.read(0, count - len(received))
        except OSError as error:
            return received, error.errno
        if not data:
            return received, "end"
        received += data
    return received, None


def write(data):
    sent = 0
    while sent < len(data):
        select.select([], [1], [])
        try:
            sent += os.write(1, data[sent:])
        except BlockingIOError:
            continue
        except OSError as error:
            return sent, error.errno
    return sent, None


def describe():
    kinds = {}
    for descriptor in os.listdir("/proc/self/fd"):
        try:
            mode = os.fstat(int(descriptor)).st_mode
        except OSError:
            continue
        kinds[descriptor] = stat.S_IFMT(mode)
    with open("/proc/self/status", encoding="ascii") as file:
        ignored = next(int(line.split()[1], 16) for line in file if line.startswith("SigIgn"))
    with open("/proc/self/cmdline", "rb") as file:
        arguments = file.read().decode("latin-1").split("\0")[:-1]
    with open("/proc/self/environ", "rb") as file:
        variables = [entry.split("=", 1) for entry in file.read().decode("latin-1").split("\0")[:-1]]
    return {
        "pid": os.getpid(),
        "uid": os.getuid(),
        "arguments": arguments,
        "environment": dict(variables),
        "descriptors": kinds,
        "same": os.path.sameopenfile(0, 1),
        "blocking": [os.get_blocking(0), os.get_blocking(1)],
        # What the interpreter ignores by itself is no news.
        "ignored": [number for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGPIPE)
                    if ignored & 1 << number - 1],
        "cwd": os.getcwd(),
        "umask": os.umask(0o77),
    }


for line in commands:
    command, *arguments = json.loads(line)
    if command == "read":
        data, end = read(arguments[0])
        answer(data=data.hex(), end=end)
    elif command == "write":
        sent, error = write(bytes.fromhex(arguments[0]))
        answer(sent=sent, error=error)
    elif command == "write-many":
        sent, error = write(bytes.fromhex(arguments[0]) * arguments[1])
        answer(sent=sent, error=error)
    elif command == "describe":
        answer(**describe())
    elif command == "shutdown":
        socket.socket(fileno=os.dup(0)).shutdown(arguments[0])
        answer()
    elif command == "children":
        try:
            os.waitpid(-1, os.WNOHANG)
            answer(children=True)
        except ChildProcessError:
            answer(children=False)
    elif command == "exit":
        os._exit(arguments[0])
