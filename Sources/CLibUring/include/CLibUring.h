// The kernel's interface as Swift needs it: liburing, and what Swift cannot import.
//
// <features.h> comes first and neither _GNU_SOURCE nor _XOPEN_SOURCE is defined here: liburing.h would otherwise
// redefine what Glibc's own module was built with, and files that import both fail on fd_set.
#ifndef URING_RAWLOG_CLIBURING_H
#define URING_RAWLOG_CLIBURING_H

#include <features.h>
#include <liburing.h>

#include <stdint.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/signalfd.h>
#include <sys/types.h>
#include <sys/uio.h>

// Constants newer than Debian 12's headers (kernel 6.1, liburing 2.3), by their value in the kernel's uapi.
#ifndef IORING_FEAT_RECVSEND_BUNDLE
#define IORING_FEAT_RECVSEND_BUNDLE (1U << 14)
#endif
#ifndef IORING_RECVSEND_BUNDLE
#define IORING_RECVSEND_BUNDLE (1U << 4)
#endif

// Enum-valued and otherwise unimportable macros as constants.
static const uint8_t uring_op_accept = IORING_OP_ACCEPT;
static const uint8_t uring_op_connect = IORING_OP_CONNECT;
static const uint8_t uring_op_recv = IORING_OP_RECV;
static const uint8_t uring_op_send = IORING_OP_SEND;
static const uint8_t uring_op_sendmsg = IORING_OP_SENDMSG;
static const uint8_t uring_op_write = IORING_OP_WRITE;
static const uint8_t uring_op_writev = IORING_OP_WRITEV;
static const uint8_t uring_op_read = IORING_OP_READ;
static const uint8_t uring_op_openat = IORING_OP_OPENAT;
static const uint8_t uring_op_unlinkat = IORING_OP_UNLINKAT;
static const uint8_t uring_op_renameat = IORING_OP_RENAMEAT;
// IORING_OP_FTRUNCATE (kernel 6.9), an enumerator that older headers do not have.
static const uint8_t uring_op_ftruncate = 55;
static const uint8_t uring_op_close = IORING_OP_CLOSE;
static const uint8_t uring_op_async_cancel = IORING_OP_ASYNC_CANCEL;
static const uint8_t uring_op_poll_add = IORING_OP_POLL_ADD;
static const uint8_t uring_sqe_buffer_select = IOSQE_BUFFER_SELECT;
static const uint32_t uring_setup_single_issuer = IORING_SETUP_SINGLE_ISSUER;
static const uint32_t uring_setup_defer_taskrun = IORING_SETUP_DEFER_TASKRUN;
static const uint32_t uring_setup_coop_taskrun = IORING_SETUP_COOP_TASKRUN;
static const uint32_t uring_setup_submit_all = IORING_SETUP_SUBMIT_ALL;
static const uint32_t uring_setup_clamp = IORING_SETUP_CLAMP;
static const uint32_t uring_setup_cqsize = IORING_SETUP_CQSIZE;
static const uint32_t uring_setup_r_disabled = IORING_SETUP_R_DISABLED;
static const uint32_t uring_feat_recvsend_bundle = IORING_FEAT_RECVSEND_BUNDLE;
static const uint16_t uring_recvsend_bundle = IORING_RECVSEND_BUNDLE;
static const uint16_t uring_recvsend_poll_first = IORING_RECVSEND_POLL_FIRST;
static const uint16_t uring_recv_multishot = IORING_RECV_MULTISHOT;
static const uint16_t uring_accept_multishot = IORING_ACCEPT_MULTISHOT;
static const uint32_t uring_poll_multishot = IORING_POLL_ADD_MULTI;
static const uint32_t uring_async_cancel_all = IORING_ASYNC_CANCEL_ALL;
static const uint32_t uring_async_cancel_fd = IORING_ASYNC_CANCEL_FD;

/// A zeroed submission entry with the fields that every operation sets; NULL while the queue is full.
static inline struct io_uring_sqe *uring_next_submission(struct io_uring *ring, uint8_t opcode, int fd,
                                                         uint64_t token) {
  struct io_uring_sqe *entry = io_uring_get_sqe(ring);
  if (entry == NULL) return NULL;
  io_uring_prep_rw(opcode, entry, fd, NULL, 0, 0);
  entry->user_data = token;
  return entry;
}

// The fields of a submission that sit in anonymous unions, which Swift imports under no stable name.
static inline void uring_set_address(struct io_uring_sqe *entry, const void *address, uint32_t length,
                                     uint64_t offset) {
  entry->addr = (uint64_t)(uintptr_t)address;
  entry->len = length;
  entry->off = offset;
}
static inline void uring_set_operation_flags(struct io_uring_sqe *entry, uint32_t flags) { entry->rw_flags = (int)flags; }
static inline void uring_set_priority(struct io_uring_sqe *entry, uint16_t flags) { entry->ioprio = flags; }
static inline void uring_set_buffer_group(struct io_uring_sqe *entry, uint16_t group) {
  entry->flags |= IOSQE_BUFFER_SELECT;
  entry->buf_group = group;
}
// The kernel's `optlen`, which Debian 12's headers do not have, lies where `file_index` does.
static inline void uring_set_receive_cap(struct io_uring_sqe *entry, uint32_t bytes) { entry->file_index = bytes; }
// poll32_events has its halves exchanged on machines with the high byte first.
static inline void uring_set_poll_events(struct io_uring_sqe *entry, uint32_t events) {
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
  events = events << 16 | events >> 16;
#endif
  entry->poll32_events = events;
}
static inline void uring_set_cancel_target(struct io_uring_sqe *entry, uint64_t token) { entry->addr = token; }

/// Copies up to `limit` completions, 16 bytes each as struct io_uring_cqe, to `to` and gives their places back to the
/// kernel.
static inline unsigned uring_take_completions(struct io_uring *ring, void *to, unsigned limit) {
  struct completion {
    uint64_t user_data;
    int32_t res;
    uint32_t flags;
  } *into = to;
  _Static_assert(IORING_CQE_F_BUFFER == 1 && IORING_CQE_F_MORE == 2 && IORING_CQE_BUFFER_SHIFT == 16,
                 "as Completion.swift has them");
  _Static_assert(sizeof(struct completion) == sizeof(struct io_uring_cqe), "a completion is 16 bytes");
  unsigned head, taken = 0;
  struct io_uring_cqe *entry;
  io_uring_for_each_cqe(ring, head, entry) {
    if (taken == limit) break;
    into[taken].user_data = entry->user_data;
    into[taken].res = entry->res;
    into[taken].flags = entry->flags;
    taken += 1;
  }
  io_uring_cq_advance(ring, taken);
  return taken;
}

/// One entry of a provided-buffer ring, `ahead` places behind what is published.
static inline void uring_buffer_add(struct io_uring_buf_ring *ring, void *address, uint32_t length, uint16_t id,
                                    uint16_t mask, uint16_t ahead) {
  struct io_uring_buf *entry = &ring->bufs[(uint16_t)(ring->tail + ahead) & mask];
  entry->addr = (uint64_t)(uintptr_t)address;
  entry->len = length;
  entry->bid = id;
}
/// Publishes `count` entries with a store-release, as io_uring_buf_ring_advance(3).
static inline void uring_buffer_publish(struct io_uring_buf_ring *ring, uint16_t count) {
  io_uring_buf_ring_advance(ring, count);
}

/// Registers `entries` places at `address` as provided-buffer ring `group`: 0, or a negative errno.
static inline int uring_register_buffers(struct io_uring *ring, void *address, uint32_t entries, uint16_t group) {
  struct io_uring_buf_reg registration = {0};
  registration.ring_addr = (uint64_t)(uintptr_t)address;
  registration.ring_entries = entries;
  registration.bgid = group;
  return io_uring_register_buf_ring(ring, &registration, 0);
}

// Variadic functions and macros that Swift cannot call.
// The command line as the kernel gave it; for a program without the Swift runtime, which has no CommandLine.
extern int uring_argument_count;
extern char **uring_arguments;

// Lets everybody else use the disk first (ioprio_set(2), the idle class), where there are such classes.
void uring_use_idle_disk(void);
// Gives a file another name that nobody has yet: 0, or -1 and errno.
int uring_rename(const char *from, const char *to);
int uring_open(const char *path, int flags, unsigned mode);
/// Whether a file system is one that has no device (statfs(2)): tmpfs or ramfs.
int uring_is_in_memory(int descriptor);
int uring_openat(int directory, const char *path, int flags, unsigned mode);
int uring_open_directory(const char *path);
void uring_release_free_memory(void);
/// Bytes that are allocated from the heap; 0 where that is not known.
unsigned long uring_heap_bytes(void);
int uring_unconfirmed_bytes(int socket, int *bytes);
int uring_make_pipe(int ends[2], int bytes);
long uring_splice(int from, int to, unsigned long bytes);
int uring_make_nonblocking(int socket);

// epoll(7), epoll.c.

/// Events that one wait brings at most.
#define URING_EPOLL_EVENTS 256
/// What a descriptor was found ready for: EPOLLIN and the like, which have the values of POLLIN and the like.
struct uring_event {
  uint64_t token;
  uint32_t events;
};
// All that a stream socket can become ready for, told once each time it becomes so (EPOLLET).
static const uint32_t uring_epoll_everything = 0x1 | 0x2 | 0x4 | 0x2000 | 1U << 31;
static const uint32_t uring_epoll_readable = 0x1;
static const uint32_t uring_epoll_urgent = 0x2;
static const uint32_t uring_epoll_writable = 0x4;
static const uint32_t uring_epoll_error = 0x8;
static const uint32_t uring_epoll_hang_up = 0x10;
static const uint32_t uring_epoll_read_hang_up = 0x2000;

/// A descriptor, or a negative errno.
int uring_epoll_create(void);
/// 0, or a negative errno.
int uring_epoll_add(int epoll, int descriptor, uint32_t events, uint64_t token);
void uring_epoll_remove(int epoll, int descriptor);
/// How many events there are, or a negative errno. Waits for them as long as it is told, and without end when that is
/// negative.
int uring_epoll_wait(int epoll, struct uring_event *events, int most, int64_t nanoseconds);
/// A connection that waits, as a socket that does not (accept4(2)), or a negative errno.
int uring_accept(int listener);
/// Gives a file in a directory another name there that nobody has yet: 0, or -1 and errno.
int uring_renameat(int directory, const char *from, const char *to);

// For the drop-in, which makes a process of its own for each session.
/// Lets a ring that was set up with IORING_SETUP_R_DISABLED work: 0, or a negative errno.
int uring_enable(int ring);
/// Starts a process that nobody has to wait for, and that runs `body` in our memory, with copies of our descriptors, once
/// we have become another program (execve(2)) or have ended; until then it only waits. Its id, or a negative errno.
pid_t uring_start_detached(void *stack, size_t bytes, void (*body)(void *context), void *context);
/// Closes all descriptors from `first` to `last` (close_range(2)): 0, or -1 and errno.
int uring_close_range(unsigned first, unsigned last);
/// setresgid(2): 0, or -1 and errno.
int uring_set_groups(gid_t real, gid_t effective, gid_t saved);

// The sandbox, sandbox.c. Each is 0, or a negative errno, where nothing else is said.

// Rights on what is below a path (landlock(7), LANDLOCK_ACCESS_FS_*), and those on TCP ports.
static const uint64_t uring_may_write = 1ULL << 1;
static const uint64_t uring_may_read = 1ULL << 2;
static const uint64_t uring_may_list = 1ULL << 3;
static const uint64_t uring_may_remove = 1ULL << 5;
static const uint64_t uring_may_make = 1ULL << 8;
// From ABI 3 on; before it, truncating cannot be forbidden.
static const uint64_t uring_may_truncate = 1ULL << 14;

/// No program that is run from now on has more rights than we have (prctl(2), PR_SET_NO_NEW_PRIVS).
int uring_forbid_privileges(void);
/// Gives up every capability of the thread.
int uring_drop_capabilities(void);
/// The version of the kernel's Landlock; 0 without.
int uring_landlock_abi(void);
/// A set of rules that allows nothing yet, to be closed by the caller.
int uring_landlock_create(int abi);
/// Allows what is below a path, or a file itself; rights that this version of Landlock does not know, or that are of
/// directories only where it is a file, are left out.
int uring_landlock_allow(int ruleset, int abi, const char *path, uint64_t access);
int uring_landlock_allow_connecting(int ruleset, uint16_t port);
int uring_landlock_enforce(int ruleset);
/// Leaves the thread the system calls that the relay makes, with a ring or, where `with_epoll`, without one. After
/// `uring_forbid_privileges`.
int uring_install_filter(int with_epoll);
/// Leaves a ring that is not enabled yet these operations, and these flags of a submission.
int uring_restrict(int ring, const uint8_t *operations, unsigned count, uint8_t flags);

// What an attacker would do, for the proof that it cannot be done.
int uring_try_ptrace(void);
int uring_try_fork(void);
int uring_try_new_ring(void);
int uring_try_executable_memory(void);
/// Submits an operation that has nothing but a descriptor, and waits for its result.
int uring_try_operation(struct io_uring *ring, uint8_t operation, int descriptor);

#endif
