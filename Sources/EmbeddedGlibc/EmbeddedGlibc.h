// What the drop-in takes from the C library, for builds without the Swift runtime. The module Glibc of the toolchain has
// a part in Swift, which needs that; Sources/Postlogin/EmbeddedGlibc.swift is what is used of that part.
#ifndef EmbeddedGlibc_h
#define EmbeddedGlibc_h

#include <features.h>

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <grp.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

// Macros that Swift does not see, and a function with variable arguments.
static inline int *embedded_errno(void) { return &errno; }
static inline __sighandler_t embedded_ignore_signal(void) { return SIG_IGN; }
static inline void *embedded_map_failed(void) { return MAP_FAILED; }
static inline int embedded_fcntl(int descriptor, int command) { return fcntl(descriptor, command); }

extern char **environ;

#endif
