// epoll(7), and calls of the engine that works with it, which Swift's Glibc does not have.
#ifndef _GNU_SOURCE
#define _GNU_SOURCE  // accept4, renameat2
#endif
#include "CLibUring.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#ifndef __NR_epoll_pwait2
#define __NR_epoll_pwait2 441
#endif

int uring_epoll_create(void) {
  int epoll = epoll_create1(EPOLL_CLOEXEC);
  return epoll < 0 ? -errno : epoll;
}

int uring_epoll_add(int epoll, int descriptor, uint32_t events, uint64_t token) {
  struct epoll_event event = {.events = events, .data = {.u64 = token}};
  return epoll_ctl(epoll, EPOLL_CTL_ADD, descriptor, &event) < 0 ? -errno : 0;
}

void uring_epoll_remove(int epoll, int descriptor) {
  struct epoll_event unused = {0};
  epoll_ctl(epoll, EPOLL_CTL_DEL, descriptor, &unused);
}

// Nanoseconds need epoll_pwait2(2) (kernel 5.11), which filters of system calls that are older than it refuse: then it is
// whole milliseconds, rather more than less.
static int wait_for(int epoll, struct epoll_event *ready, int most, int64_t nanoseconds) {
  static int has_nanoseconds = 1;
  if (nanoseconds <= 0) return epoll_wait(epoll, ready, most, nanoseconds < 0 ? -1 : 0);
  if (has_nanoseconds) {
    // The kernel's own layout, which has 64 bits for the seconds everywhere.
    struct __kernel_timespec time = {nanoseconds / 1000000000, nanoseconds % 1000000000};
    int count = (int)syscall(__NR_epoll_pwait2, epoll, ready, most, &time, NULL, 0UL);
    if (count >= 0 || (errno != ENOSYS && errno != EPERM)) return count;
    has_nanoseconds = 0;
  }
  int64_t milliseconds = (nanoseconds + 999999) / 1000000;
  return epoll_wait(epoll, ready, most, milliseconds > 3600000 ? 3600000 : (int)milliseconds);
}

int uring_epoll_wait(int epoll, struct uring_event *events, int most, int64_t nanoseconds) {
  struct epoll_event ready[URING_EPOLL_EVENTS];
  if (most > URING_EPOLL_EVENTS) most = URING_EPOLL_EVENTS;
  int count = wait_for(epoll, ready, most, nanoseconds);
  if (count < 0) return -errno;
  for (int place = 0; place < count; place += 1) {
    events[place] = (struct uring_event){ready[place].data.u64, ready[place].events};
  }
  return count;
}

int uring_accept(int listener) {
  int descriptor = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
  return descriptor < 0 ? -errno : descriptor;
}

int uring_renameat(int directory, const char *from, const char *to) {
  return renameat2(directory, from, directory, to, RENAME_NOREPLACE);
}
