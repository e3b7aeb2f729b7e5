#ifndef _GNU_SOURCE
#define _GNU_SOURCE  // O_PATH, pipe2, splice, F_SETPIPE_SZ
#endif
#include "CLibUring.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/sockios.h>
#ifdef __GLIBC__
#include <malloc.h>
#endif
#include <linux/magic.h>
#include <sys/ioctl.h>
#include <sys/vfs.h>
#include <unistd.h>

int uring_open(const char *path, int flags, unsigned mode) { return open(path, flags, mode); }

int uring_is_in_memory(int descriptor) {
  struct statfs status;
  return fstatfs(descriptor, &status) == 0 && (status.f_type == TMPFS_MAGIC || status.f_type == RAMFS_MAGIC);
}

int uring_openat(int directory, const char *path, int flags, unsigned mode) { return openat(directory, path, flags, mode); }

// O_PATH needs no permission to list the directory, only to pass it (openat(2)).
int uring_open_directory(const char *path) { return open(path, O_PATH | O_DIRECTORY | O_CLOEXEC); }

int uring_unconfirmed_bytes(int socket, int *bytes) { return ioctl(socket, SIOCOUTQ, bytes); }

// A pipe that never waits, reading end first: how many bytes it holds, or a negative errno. The wanted size may be
// refused (fs.pipe-max-size, fs.pipe-user-pages-soft): then it has the size that it was made with.
int uring_make_pipe(int ends[2], int bytes) {
  if (pipe2(ends, O_NONBLOCK | O_CLOEXEC) != 0) return -errno;
  int size = fcntl(ends[1], F_SETPIPE_SZ, bytes);
  if (size < 0) size = fcntl(ends[1], F_GETPIPE_SZ);
  return size < 0 ? 0 : size;
}

long uring_splice(int from, int to, unsigned long bytes) {
  long count = splice(from, NULL, to, NULL, bytes, SPLICE_F_NONBLOCK | SPLICE_F_MOVE);
  return count < 0 ? -errno : count;
}

int uring_make_nonblocking(int socket) {
  int flags = fcntl(socket, F_GETFL);
  return flags < 0 ? flags : fcntl(socket, F_SETFL, flags | O_NONBLOCK);
}

void uring_release_free_memory(void) {
#ifdef __GLIBC__
  malloc_trim(0);
#endif
}

unsigned long uring_heap_bytes(void) {
#ifdef __GLIBC__
  struct mallinfo2 heap = mallinfo2();
  return heap.uordblks + heap.hblkhd;
#else
  return 0;
#endif
}
