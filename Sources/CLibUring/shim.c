#ifndef _GNU_SOURCE
#define _GNU_SOURCE  // O_PATH, pipe2, splice, F_SETPIPE_SZ, clone, setresgid
#endif
#include "CLibUring.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/sockios.h>
#include <sched.h>
#include <signal.h>
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

unsigned long uring_heap_bytes(void) {
#ifdef __GLIBC__
  struct mallinfo2 heap = mallinfo2();
  return heap.uordblks + heap.hblkhd;
#else
  return 0;
#endif
}

// liburing 2.3 has io_uring_enable_rings in its headers and does not export it.
int uring_enable(int ring) {
  return syscall(SYS_io_uring_register, ring, IORING_REGISTER_ENABLE_RINGS, NULL, 0) < 0 ? -errno : 0;
}

// What a detached process is to do, and the pipe whose end tells it that it may.
struct detached {
  void (*body)(void *context);
  void *context;
  int pipe[2];
  pid_t process;
};

static int detached_main(void *argument) {
  struct detached *detached = argument;
  char byte;
  close(detached->pipe[1]);
  while (read(detached->pipe[0], &byte, 1) < 0 && errno == EINTR) continue;
  detached->body(detached->context);
  return 0;
}

// Its own stack is a small one in front of `argument`; behind it begins that of the process that it starts.
static int detached_start(void *argument) {
  struct detached *detached = argument;
  pid_t process = clone(detached_main, (char *)detached - 2048, CLONE_VM | SIGCHLD, detached);
  detached->process = process < 0 ? -errno : process;
  return 0;
}

// Two processes that have our memory in common with us, not a copy of it. The first only starts the second and ends, so
// that the second is nobody's child to wait for; we rest meanwhile (CLONE_VFORK) and get no signal. The second has a
// stack of its own, and does nothing until we have become another program or have ended: the kernel then closes the end
// of the pipe that is ours, and the memory is its alone.
pid_t uring_start_detached(void *stack, size_t bytes, void (*body)(void *context), void *context) {
  struct detached *detached = (struct detached *)((char *)stack + bytes - 64);
  *detached = (struct detached){body, context, {-1, -1}, -EAGAIN};
  if (pipe2(detached->pipe, O_CLOEXEC) != 0) return -errno;
  pid_t first = clone(detached_start, detached, CLONE_VM | CLONE_VFORK, detached);
  if (first < 0) detached->process = -errno;
  while (first > 0 && waitpid(first, NULL, __WCLONE) < 0 && errno == EINTR) continue;
  close(detached->pipe[0]);
  pid_t process = detached->process;
  if (process < 0) close(detached->pipe[1]);
  return process;
}

// By its number: the call is newer (kernel 5.9) than some C libraries.
int uring_close_range(unsigned first, unsigned last) { return (int)syscall(SYS_close_range, first, last, 0); }

int uring_set_groups(gid_t real, gid_t effective, gid_t saved) { return setresgid(real, effective, saved); }

int uring_rename(const char *from, const char *to) {
  return renameat2(AT_FDCWD, from, AT_FDCWD, to, RENAME_NOREPLACE);
}

void uring_use_idle_disk(void) {
  // IOPRIO_WHO_PROCESS, this one, IOPRIO_CLASS_IDLE.
  syscall(SYS_ioprio_set, 1, 0, 3 << 13);
}
