#include "CLibUring.h"

#include <fcntl.h>

int uring_open(const char *path, int flags, unsigned mode) { return open(path, flags, mode); }

int uring_openat(int directory, const char *path, int flags, unsigned mode) {
  return openat(directory, path, flags, mode);
}
