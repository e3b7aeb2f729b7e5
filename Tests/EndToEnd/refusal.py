"""Processes to which the kernel refuses io_uring, as containers do by default."""

import ctypes
import errno
import os
import platform
import subprocess

# A seccomp filter: some system calls fail with an error of our choice.

class _Instruction(ctypes.Structure):
    _fields_ = [("code", ctypes.c_ushort), ("jt", ctypes.c_ubyte), ("jf", ctypes.c_ubyte), ("k", ctypes.c_uint32)]


class _Program(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("filter", ctypes.POINTER(_Instruction))]


def refusing(error, *calls):
    """A preexec_fn after which these system calls, by number, fail with `error`."""
    load, equal, give = 0x20, 0x15, 0x06  # BPF_LD|W|ABS, BPF_JMP|JEQ|K, BPF_RET|K
    fail, allow = 0x00050000 | error, 0x7FFF0000  # SECCOMP_RET_ERRNO, SECCOMP_RET_ALLOW
    steps = [_Instruction(load, 0, 0, 0)]  # seccomp_data.nr
    for call in calls:
        steps += [_Instruction(equal, 0, 1, call), _Instruction(give, 0, 0, fail)]
    steps.append(_Instruction(give, 0, 0, allow))
    program = _Program(len(steps), (_Instruction * len(steps))(*steps))
    libc = ctypes.CDLL(None, use_errno=True)
    # prctl takes unsigned longs: a zero passed as an int may leave rubbish in the upper half.
    zero = ctypes.c_ulong(0)

    def install():
        if libc.prctl(38, ctypes.c_ulong(1), zero, zero, zero) != 0:  # PR_SET_NO_NEW_PRIVS
            os._exit(120)
        if libc.prctl(22, ctypes.c_ulong(2), ctypes.byref(program), zero, zero) != 0:  # PR_SET_SECCOMP, FILTER
            os._exit(121)
    return install


def without_io_uring(error):
    """A preexec_fn after which io_uring_setup, whose number is the same everywhere, fails with `error`."""
    return refusing(error, 425)


def without_threads():
    """A preexec_fn after which no thread can be started, as where a limit of processes is reached."""
    clone = 56 if platform.machine() == "x86_64" else 220
    return refusing(errno.EAGAIN, clone, 435)  # clone3


def skip_without_filters(test):
    """Skips a test where no such filter can be installed."""
    if platform.machine() not in ("x86_64", "aarch64"):
        test.skipTest("the filter is written for x86_64 and aarch64")
    if subprocess.run(["/bin/true"], preexec_fn=without_io_uring(1), check=False).returncode != 0:
        test.skipTest("no seccomp filters here")
