"""A file system whose every write is in the test's hands: full, broken, read-only, slow, at a byte of one's choice.

It is served over /dev/fuse by a thread (the kernel's protocol, linux/fuse.h) and keeps its files in memory. There is
one directory. Nothing is cached, so each write of a process arrives here as it was made."""

import ctypes
import errno
import os
import shutil
import stat
import struct
import tempfile
import threading
import time

from relay import wait_until

_ROOT = 1
_DIRECT = 1  # FOPEN_DIRECT_IO
_BIG_WRITES = 1 << 5
_WRITE_BYTES = 128 << 10
(_LOOKUP, _FORGET, _GETATTR, _SETATTR, _UNLINK, _RENAME, _OPEN, _READ, _WRITE, _STATFS, _RELEASE, _FSYNC, _FLUSH, _INIT,
 _OPENDIR, _READDIR, _RELEASEDIR, _CREATE, _INTERRUPT, _DESTROY, _BATCH_FORGET, _RENAME2) = (
     1, 2, 3, 4, 10, 12, 14, 15, 16, 17, 18, 20, 25, 26, 27, 28, 29, 35, 36, 38, 42, 45)
_UNANSWERED = (_FORGET, _BATCH_FORGET, _INTERRUPT)
_SIZE_VALID = 1 << 3  # FATTR_SIZE


class _File:
    def __init__(self, node, mode):
        self.node = node
        self.mode = mode
        self.data = bytearray()


class FaultyDisk:
    """`directory` is where it is mounted; skips the test where that is not allowed.

    - `room`: so many bytes may still be written; a write that has more is cut short, and the next fails with
      `full_error`. None is any number.
    - `errors`: the error of each kind of operation ("create", "write") that fails at once.
    - `delay`: seconds that each write takes.
    """

    def __init__(self, test):
        self.room = None
        self.full_error = errno.ENOSPC
        self.errors = {}
        self.delay = 0
        self.writes = 0
        self._files, self._names = {}, {}
        self._next = _ROOT + 1
        if os.geteuid() != 0:
            test.skipTest("mounting needs root")
        if not os.path.exists("/dev/fuse"):
            test.skipTest("this kernel has no /dev/fuse")
        self.directory = tempfile.mkdtemp(prefix="uring-rawlog-faulty-")
        self._fuse = os.open("/dev/fuse", os.O_RDWR | os.O_CLOEXEC)
        options = f"fd={self._fuse},rootmode=40000,user_id=0,group_id=0,allow_other"
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.mount(b"faulty", self.directory.encode(), b"fuse.faulty", 0, options.encode()) != 0:
            reason = os.strerror(ctypes.get_errno())
            os.close(self._fuse)
            os.rmdir(self.directory)
            test.skipTest(f"a FUSE file system cannot be mounted here: {reason}")
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()
        test.addCleanup(self._unmount, libc)

    def heal(self):
        self.room = None
        self.errors = {}
        self.delay = 0

    def _unmount(self, libc):
        self.heal()
        # The kernel lets go of the files of a process that is gone a little later.
        wait_until(lambda: libc.umount2(self.directory.encode(), 0) == 0, what="the disk to be free")
        self._thread.join(10)
        os.close(self._fuse)
        shutil.rmtree(self.directory)

    def _serve(self):
        operations = {_INIT: self._init, _LOOKUP: self._lookup, _GETATTR: self._getattr, _SETATTR: self._setattr,
                      _UNLINK: self._unlink, _RENAME: self._rename, _RENAME2: self._rename2, _OPEN: self._open,
                      _CREATE: self._create, _READ: self._read, _WRITE: self._write, _STATFS: self._statfs,
                      _OPENDIR: self._open, _READDIR: self._readdir}
        while True:
            try:
                request = os.read(self._fuse, _WRITE_BYTES + 8192)
            except OSError as error:
                if error.errno == errno.ENODEV:
                    return  # unmounted
                continue  # one that was interrupted before it was read
            opcode, unique, node = struct.unpack_from("=IQQ", request, 4)
            if opcode in _UNANSWERED:
                continue
            failed, answer = 0, b""
            if opcode in operations:
                try:
                    answer = operations[opcode](node, request[40:])
                except OSError as error:
                    failed = error.errno
            elif opcode not in (_RELEASE, _FSYNC, _FLUSH, _RELEASEDIR, _DESTROY):
                failed = errno.ENOSYS
            try:
                os.write(self._fuse, struct.pack("=IiQ", 16 + len(answer), -failed, unique) + answer)
            except OSError:
                pass  # whoever asked is gone

    def _fail(self, operation):
        if operation in self.errors:
            raise OSError(self.errors[operation], operation)

    @staticmethod
    def _name(body):
        return body.split(b"\0", 1)[0]

    def _attributes(self, node):
        if node == _ROOT:
            mode, size, links = stat.S_IFDIR | 0o700, 4096, 2
        else:
            file = self._files[node]
            mode, size, links = stat.S_IFREG | file.mode, len(file.data), 1
        now = int(time.time())
        return struct.pack("=6Q10I", node, size, -(-size // 512), now, now, now, 0, 0, 0, mode, links, 0, 0, 0, 4096, 0)

    def _entry(self, node):
        return struct.pack("=4Q2I", node, 0, 0, 0, 0, 0) + self._attributes(node)

    def _init(self, _node, _body):
        return struct.pack("=4I2H2I2H8I", 7, 31, 0, _BIG_WRITES, 16, 12, _WRITE_BYTES, 1, 0, 0, *([0] * 8))

    def _lookup(self, _node, body):
        node = self._names.get(self._name(body))
        if node is None:
            raise FileNotFoundError(errno.ENOENT, "no such file")
        return self._entry(node)

    def _getattr(self, node, _body):
        return struct.pack("=Q2I", 0, 0, 0) + self._attributes(node)

    def _setattr(self, node, body):
        valid, _, _, size = struct.unpack_from("=IIQQ", body)
        if node != _ROOT and valid & _SIZE_VALID:
            data = self._files[node].data
            data[size:] = bytes(max(0, size - len(data)))
        return self._getattr(node, body)

    def _unlink(self, _node, body):
        del self._names[self._name(body)]
        return b""

    def _move(self, body):
        old, new = body.split(b"\0")[:2]
        self._names[new] = self._names.pop(old)
        return b""

    def _rename(self, _node, body):
        return self._move(body[8:])

    def _rename2(self, _node, body):
        return self._move(body[16:])

    def _open(self, _node, _body):
        return struct.pack("=QII", 0, _DIRECT, 0)

    def _create(self, _node, body):
        self._fail("create")
        _, mode = struct.unpack_from("=II", body)
        file = _File(self._next, mode & 0o777)
        self._next += 1
        self._files[file.node] = file
        self._names[self._name(body[16:])] = file.node
        return self._entry(file.node) + self._open(file.node, body)

    def _read(self, node, body):
        _, offset, size = struct.unpack_from("=QQI", body)
        return bytes(self._files[node].data[offset:offset + size])

    def _write(self, node, body):
        _, offset, size = struct.unpack_from("=QQI", body)
        self.writes += 1
        if self.delay:
            time.sleep(self.delay)
        self._fail("write")
        if self.room is not None:
            if self.room == 0:
                raise OSError(self.full_error, "full")
            size = min(size, self.room)
            self.room -= size
        data = self._files[node].data
        data.extend(bytes(max(0, offset - len(data))))
        data[offset:offset + size] = body[40:40 + size]
        return struct.pack("=II", size, 0)

    def _statfs(self, _node, _body):
        free = 1 << 20 if self.room is None else self.room // 4096
        return struct.pack("=5Q4I24x", 1 << 20, free, free, 1 << 20, 1 << 20, 4096, 255, 4096, 0)

    def _readdir(self, _node, body):
        _, offset, size = struct.unpack_from("=QQI", body)
        listing = b""
        for place, (name, node) in enumerate(sorted(self._names.items()), 1):
            entry = struct.pack("=QQII", node, place, len(name), stat.S_IFREG >> 12) + name
            entry += bytes(-len(entry) % 8)
            if place > offset:
                if len(listing) + len(entry) > size:
                    break
                listing += entry
        return listing
