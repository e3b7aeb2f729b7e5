#include "CLibUring.h"

#include <fcntl.h>
#include <linux/sockios.h>
#include <sys/ioctl.h>

int uring_open(const char *path, int flags, unsigned mode) { return open(path, flags, mode); }

int uring_unconfirmed_bytes(int socket, int *bytes) { return ioctl(socket, SIOCOUTQ, bytes); }
