#ifndef _GNU_SOURCE
#define _GNU_SOURCE  // O_PATH, pipe2, splice, F_SETPIPE_SZ, setresgid
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
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <sys/wait.h>
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

// liburing 2.3 has io_uring_enable_rings in its headers and does not export it.
int uring_enable(int ring) {
  return syscall(SYS_io_uring_register, ring, IORING_REGISTER_ENABLE_RINGS, NULL, 0) < 0 ? -errno : 0;
}

// Between the new process and ours stands one that only forks and ends, so that the new one is nobody's child to wait
// for. It shares our memory (vfork(2)): there is no second copy of the page tables to pay for. The new process returns
// from here in its own copy of the stack, which nothing touches before it is made.
pid_t uring_fork_detached(void) {
  volatile pid_t result = -EAGAIN;
  pid_t between = vfork();
  if (between < 0) return -errno;
  if (between == 0) {
    pid_t child = fork();
    if (child == 0) return 0;
    result = child < 0 ? -errno : child;
    _exit(0);
  }
  while (waitpid(between, NULL, 0) < 0 && errno == EINTR) continue;
  return result;
}

// By its number: the call is newer (kernel 5.9) than some C libraries.
int uring_close_range(unsigned first, unsigned last) { return (int)syscall(SYS_close_range, first, last, 0); }

int uring_set_groups(gid_t real, gid_t effective, gid_t saved) { return setresgid(real, effective, saved); }
