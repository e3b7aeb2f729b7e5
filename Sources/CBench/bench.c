#ifndef _GNU_SOURCE
#define _GNU_SOURCE  // accept4, nftw
#endif
#include "CBench.h"

#include <fcntl.h>
#include <ftw.h>
#include <linux/fs.h>
#include <signal.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

int bench_accept(int listener, int nonblocking) {
  return accept4(listener, NULL, NULL, SOCK_CLOEXEC | (nonblocking ? SOCK_NONBLOCK : 0));
}

int bench_pipe(int ends[2]) { return pipe2(ends, O_CLOEXEC); }

int bench_spread_directories(const char *path) {
  int directory = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (directory < 0) return -1;
  int flags = 0;
  int result = ioctl(directory, FS_IOC_GETFLAGS, &flags);
  if (result == 0) {
    flags |= FS_TOPDIR_FL;
    result = ioctl(directory, FS_IOC_SETFLAGS, &flags);
  }
  close(directory);
  return result;
}

static int remove_one(const char *path, const struct stat *status, int type, struct FTW *place) {
  (void)status;
  (void)type;
  (void)place;
  return remove(path);
}

int bench_remove_tree(const char *path) { return nftw(path, remove_one, 32, FTW_DEPTH | FTW_PHYS); }

int bench_end_with_parent(void) { return prctl(PR_SET_PDEATHSIG, SIGTERM); }

int bench_adopt_orphans(void) { return prctl(PR_SET_CHILD_SUBREAPER, 1); }
