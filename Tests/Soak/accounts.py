"""What clients and servers counted, in memory that outlives them: a process that is killed leaves its counts behind."""

import mmap
import os

SESSIONS = 1 << 22
SIZE = 32  # a slot: sent, may have been sent, received (8 bytes each), state, end seen, wrong (a byte each)


# States. What is still `OPEN` when its process was killed was cut by that.
NONE, CONNECTING, OPEN, ORDERLY, SHORT, RESET, OWN_RESET, REFUSED, STUCK = range(9)
STATES = ("none", "connecting", "open", "orderly", "short", "reset", "own reset", "refused", "stuck")


def create(path):
    with open(path, "wb") as file:
        file.truncate(SESSIONS * SIZE)


class Accounts:
    """One side's counts of all sessions, a slot each; slot 0 counts connections that never said which session they
    are."""

    def __init__(self, path):
        descriptor = os.open(path, os.O_RDWR)
        try:
            self._memory = mmap.mmap(descriptor, SESSIONS * SIZE)
        finally:
            os.close(descriptor)

    def __getitem__(self, number):
        return Account(self._memory, number)


class Account:
    """One session as one side counted it. Each field is written at once, so a killed process leaves no half of one."""

    __slots__ = ("_memory", "_place")

    def __init__(self, memory, number):
        self._memory = memory
        self._place = number * SIZE

    def _get(self, offset, size=8):
        place = self._place + offset
        return int.from_bytes(self._memory[place:place + size], "little")

    def _set(self, offset, value, size=8):
        place = self._place + offset
        self._memory[place:place + size] = value.to_bytes(size, "little")

    sent = property(lambda self: self._get(0), lambda self, value: self._set(0, value))
    sending = property(lambda self: self._get(8), lambda self, value: self._set(8, value))
    received = property(lambda self: self._get(16), lambda self, value: self._set(16, value))
    state = property(lambda self: self._get(24, 1), lambda self, value: self._set(24, value, 1))
    ended = property(lambda self: self._get(25, 1), lambda self, value: self._set(25, value, 1))
    wrong = property(lambda self: self._get(26, 1), lambda self, value: self._set(26, value, 1))


def address_of(number):
    """Each session has a client address of its own in 127/8, by which its record is found."""
    number += 1 << 16
    return f"127.{number >> 16}.{number >> 8 & 255}.{number & 255}"


def number_of(address):
    """The session of a client address with its port, as the index has it; None when it is none of ours."""
    parts = address.rpartition(":")[0].split(".")
    if len(parts) != 4 or parts[0] != "127" or parts[1] == "0":
        return None
    return (int(parts[1]) << 16 | int(parts[2]) << 8 | int(parts[3])) - (1 << 16)
