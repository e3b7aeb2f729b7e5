#ifndef _GNU_SOURCE
#define _GNU_SOURCE  // O_PATH
#endif
#include "CLibUring.h"

#include <fcntl.h>
#include <linux/sockios.h>
#ifdef __GLIBC__
#include <malloc.h>
#endif
#include <sys/ioctl.h>

int uring_open(const char *path, int flags, unsigned mode) { return open(path, flags, mode); }

int uring_openat(int directory, const char *path, int flags, unsigned mode) { return openat(directory, path, flags, mode); }

// O_PATH needs no permission to list the directory, only to pass it (openat(2)).
int uring_open_directory(const char *path) { return open(path, O_PATH | O_DIRECTORY | O_CLOEXEC); }

int uring_unconfirmed_bytes(int socket, int *bytes) { return ioctl(socket, SIOCOUTQ, bytes); }

void uring_release_free_memory(void) {
#ifdef __GLIBC__
  malloc_trim(0);
#endif
}
