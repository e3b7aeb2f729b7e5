// What a process gives up for good: capabilities, system calls, files (capabilities(7), seccomp(2), landlock(7)), and
// what a ring may be asked to do (io_uring_register(2)). All of it is of the calling thread and those that it starts.
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "CLibUring.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <linux/sockios.h>
#include <sched.h>
#include <stddef.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

int uring_forbid_privileges(void) { return prctl(PR_SET_NO_NEW_PRIVS, 1L, 0L, 0L, 0L) == 0 ? 0 : -errno; }

int uring_drop_capabilities(void) {
  // Only who has CAP_SETPCAP may shrink the bounding set; without privileges that are new (see above) nobody gains from it.
  for (unsigned long capability = 0; prctl(PR_CAPBSET_READ, capability, 0L, 0L, 0L) >= 0; capability += 1) {
    prctl(PR_CAPBSET_DROP, capability, 0L, 0L, 0L);
  }
  // Kernels before 4.3 have no ambient set, and those the program does not run on.
  prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0L, 0L, 0L);
  struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
  struct __user_cap_data_struct none[_LINUX_CAPABILITY_U32S_3] = {{0}};
  return syscall(SYS_capset, &header, none) == 0 ? 0 : -errno;
}

// Landlock, by numbers and layouts of its own: Debian 12's headers are of ABI 2.
#ifndef __NR_landlock_create_ruleset
#define __NR_landlock_create_ruleset 444
#define __NR_landlock_add_rule 445
#define __NR_landlock_restrict_self 446
#endif

// LANDLOCK_ACCESS_NET_BIND_TCP and _CONNECT_TCP
static const uint64_t may_bind = 1 << 0;
static const uint64_t may_connect = 1 << 1;

int uring_landlock_abi(void) {
  const unsigned version = 1;  // LANDLOCK_CREATE_RULESET_VERSION
  long abi = syscall(__NR_landlock_create_ruleset, NULL, 0UL, version);
  return abi < 0 ? 0 : (int)abi;
}

int uring_landlock_create(int abi) {
  struct {
    uint64_t files, network, scoped;
  } handled = {(1ULL << 13) - 1, 0, 0};
  size_t size = sizeof handled.files;
  if (abi >= 2) handled.files |= 1 << 13;  // LANDLOCK_ACCESS_FS_REFER
  if (abi >= 3) handled.files |= uring_may_truncate;
  if (abi >= 4) {
    handled.network = may_bind | may_connect;
    size = sizeof handled.files + sizeof handled.network;
  }
  if (abi >= 5) handled.files |= 1 << 15;  // LANDLOCK_ACCESS_FS_IOCTL_DEV
  if (abi >= 6) {
    handled.scoped = 1 << 1;  // LANDLOCK_SCOPE_SIGNAL
    size = sizeof handled;
  }
  long ruleset = syscall(__NR_landlock_create_ruleset, &handled, size, 0U);
  return ruleset < 0 ? -errno : (int)ruleset;
}

int uring_landlock_allow(int ruleset, int abi, const char *path, uint64_t access) {
  struct stat status;
  if (stat(path, &status) == 0 && !S_ISDIR(status.st_mode)) access &= uring_may_write | uring_may_read | uring_may_truncate;
  if (abi < 3) access &= ~uring_may_truncate;
  struct __attribute__((packed)) {
    uint64_t access;
    int32_t parent;
  } rule = {access, open(path, O_PATH | O_CLOEXEC)};
  if (rule.parent < 0) return -errno;
  long result = syscall(__NR_landlock_add_rule, ruleset, 1 /* LANDLOCK_RULE_PATH_BENEATH */, &rule, 0U);
  int error = result < 0 ? -errno : 0;
  close(rule.parent);
  return error;
}

int uring_landlock_allow_connecting(int ruleset, uint16_t port) {
  struct {
    uint64_t access, port;
  } rule = {may_connect, port};
  return syscall(__NR_landlock_add_rule, ruleset, 2 /* LANDLOCK_RULE_NET_PORT */, &rule, 0U) < 0 ? -errno : 0;
}

int uring_landlock_enforce(int ruleset) {
  return syscall(__NR_landlock_restrict_self, ruleset, 0U) < 0 ? -errno : 0;
}

int uring_restrict(int ring, const uint8_t *operations, unsigned count, uint8_t flags) {
  struct io_uring_restriction rules[64] = {{0}};
  if (count + 1 > sizeof rules / sizeof *rules) return -E2BIG;
  for (unsigned place = 0; place < count; place += 1) {
    rules[place].opcode = IORING_RESTRICTION_SQE_OP;
    rules[place].sqe_op = operations[place];
  }
  rules[count].opcode = IORING_RESTRICTION_SQE_FLAGS_ALLOWED;
  rules[count].sqe_flags = flags;
  return syscall(SYS_io_uring_register, ring, IORING_REGISTER_RESTRICTIONS, rules, count + 1) < 0 ? -errno : 0;
}

// The filter of system calls.

#if defined(__x86_64__)
#define FILTER_ARCHITECTURE AUDIT_ARCH_X86_64
#elif defined(__aarch64__) && __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
#define FILTER_ARCHITECTURE AUDIT_ARCH_AARCH64
#elif defined(__riscv) && __riscv_xlen == 64
#define FILTER_ARCHITECTURE AUDIT_ARCH_RISCV64
#endif

#ifdef FILTER_ARCHITECTURE

// What is allowed whatever its arguments are.
static const int allowed_calls[] = {
    // The loop: the clocks, descriptors that it reads itself.
    __NR_clock_gettime, __NR_read, __NR_write, __NR_close, __NR_fcntl, __NR_splice, __NR_pipe2,
#ifdef __NR_poll
    __NR_poll,
#endif
    __NR_ppoll,
    // Files: made and written in the loop where they are in memory, the index, certificates, what resolving reads.
    __NR_openat, __NR_pread64, __NR_pwrite64, __NR_preadv, __NR_pwritev, __NR_readv, __NR_writev, __NR_lseek, __NR_fstat,
    __NR_newfstatat, __NR_statx, __NR_fstatfs, __NR_statfs, __NR_faccessat, __NR_faccessat2, __NR_readlinkat,
    __NR_getdents64, __NR_unlinkat, __NR_renameat2, __NR_fchmod, __NR_ftruncate, __NR_flock, __NR_fdatasync,
    __NR_utimensat, __NR_umask,
#ifdef __NR_stat
    __NR_stat, __NR_lstat, __NR_access, __NR_readlink, __NR_unlink, __NR_rename,
#endif
    // Sockets: legs and the collector, the resolver's, the supervisor's. None listens or is bound.
    __NR_connect, __NR_shutdown, __NR_getsockname, __NR_getpeername, __NR_getsockopt, __NR_setsockopt, __NR_sendto,
    __NR_recvfrom, __NR_sendmsg, __NR_recvmsg, __NR_sendmmsg,
    // Memory, threads, signals, as the C library and Swift's runtime use them.
    __NR_brk, __NR_munmap, __NR_mremap, __NR_madvise, __NR_futex, __NR_set_robust_list, __NR_rseq, __NR_sched_yield,
    __NR_sched_getaffinity, __NR_rt_sigaction, __NR_rt_sigprocmask, __NR_rt_sigreturn, __NR_sigaltstack,
    __NR_restart_syscall, __NR_nanosleep, __NR_clock_nanosleep, __NR_gettimeofday, __NR_getrandom, __NR_sysinfo,
    __NR_uname, __NR_getpid, __NR_gettid, __NR_getuid, __NR_geteuid, __NR_getgid, __NR_getegid, __NR_exit,
    __NR_exit_group, __NR_membarrier,
#ifdef __NR_time
    __NR_time,
#endif
#ifdef __NR_getrlimit
    __NR_getrlimit,
#endif
};

// What the loop waits with.
static const int ring_calls[] = {__NR_io_uring_enter};

// 441 is epoll_pwait2(2), which Debian 12's headers know and older ones do not. Connections are accepted beside it.
static const int epoll_calls[] = {
    441, __NR_epoll_pwait, __NR_epoll_ctl, __NR_accept4,
#ifdef __NR_epoll_wait
    __NR_epoll_wait,
#endif
};

// A filter under construction.
struct program {
  struct sock_filter steps[512];
  unsigned short count;
};

static void add(struct program *program, struct sock_filter step) { program->steps[program->count++] = step; }

static void answer(struct program *program, uint32_t verdict) {
  add(program, (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, verdict));
}

static void load(struct program *program, unsigned offset) {
  add(program, (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offset));
}

// The low or high half of an argument; both machines have the low one first.
static unsigned argument(int number, int high) {
  return offsetof(struct seccomp_data, args) + number * sizeof(uint64_t) + (high ? sizeof(uint32_t) : 0);
}

static void allow_equal(struct program *program, uint32_t value) {
  add(program, (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, value, 0, 1));
  answer(program, SECCOMP_RET_ALLOW);
}

static void allow_calls(struct program *program, const int *calls, size_t bytes) {
  for (size_t place = 0; place < bytes / sizeof *calls; place += 1) allow_equal(program, (uint32_t)calls[place]);
}

// What follows is for `call` only, until `end_call`, which must come with everything in between counted.
static unsigned short begin_call(struct program *program, int call) {
  add(program, (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)call, 0, 0));
  return (unsigned short)(program->count - 1);
}

// Whatever was not answered in between is refused.
static void end_call(struct program *program, unsigned short begin, int error) {
  answer(program, SECCOMP_RET_ERRNO | (uint32_t)error);
  program->steps[begin].jf = (uint8_t)(program->count - begin - 1);
}

// Allowed when an argument's low half is one of `values`.
static void allow_values(struct program *program, int call, int number, const uint32_t *values, unsigned count) {
  unsigned short begin = begin_call(program, call);
  load(program, argument(number, 0));
  for (unsigned place = 0; place < count; place += 1) allow_equal(program, values[place]);
  end_call(program, begin, EPERM);
}

// Allowed when, of the bits in `mask`, an argument has those of `wanted` or, where `any_but`, not exactly those.
static void allow_bits(struct program *program, int call, int number, uint32_t mask, uint32_t wanted, int any_but) {
  unsigned short begin = begin_call(program, call);
  load(program, argument(number, 0));
  add(program, (struct sock_filter)BPF_STMT(BPF_ALU | BPF_AND | BPF_K, mask));
  add(program, (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, wanted, any_but ? 1 : 0, any_but ? 0 : 1));
  answer(program, SECCOMP_RET_ALLOW);
  end_call(program, begin, EPERM);
}

static void add_special_calls(struct program *program) {
  const uint32_t families[] = {AF_UNIX, AF_INET, AF_INET6};
  allow_values(program, __NR_socket, 0, families, 3);
  const uint32_t requests[] = {SIOCOUTQ, FIONREAD, TCGETS};
  allow_values(program, __NR_ioctl, 1, requests, 3);
  // PR_SET_VMA names the heap's pages in newer C libraries.
  const uint32_t options[] = {PR_SET_NAME, PR_GET_DUMPABLE, 0x53564D41};
  allow_values(program, __NR_prctl, 0, options, 3);
  // No memory is both written and run, and none that was written can be run later.
  allow_bits(program, __NR_mmap, 2, PROT_WRITE | PROT_EXEC, PROT_WRITE | PROT_EXEC, 1);
  allow_bits(program, __NR_mprotect, 2, PROT_EXEC, 0, 0);
  // Threads, no processes. Of clone3 the filter cannot see the flags: ENOSYS makes the C library take the other.
  allow_bits(program, __NR_clone, 0, CLONE_VM | CLONE_THREAD, CLONE_VM | CLONE_THREAD, 0);
  unsigned short begin = begin_call(program, __NR_clone3);
  end_call(program, begin, ENOSYS);
  // An abort ends this process only.
  const uint32_t self[] = {(uint32_t)getpid()};
  allow_values(program, __NR_tgkill, 0, self, 1);
  // Limits are read and not set: the new ones are a null pointer.
  begin = begin_call(program, __NR_prlimit64);
  load(program, argument(2, 0));
  add(program, (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 0, 0, 3));
  load(program, argument(2, 1));
  allow_equal(program, 0);
  end_call(program, begin, EPERM);
}

int uring_install_filter(int with_epoll) {
  // The newest call that was known when the list was made. For later ones ENOSYS is the answer that C libraries know:
  // they do without.
  const uint32_t newest = 451;
  static struct program program;
  program.count = 0;
  load(&program, offsetof(struct seccomp_data, arch));
  add(&program, (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, FILTER_ARCHITECTURE, 1, 0));
  answer(&program, SECCOMP_RET_KILL_PROCESS);
  load(&program, offsetof(struct seccomp_data, nr));
#ifdef __x86_64__
  // The numbers of the x32 ABI, which name the same calls again.
  add(&program, (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, 0x40000000, 0, 1));
  answer(&program, SECCOMP_RET_KILL_PROCESS);
#endif
  allow_calls(&program, with_epoll ? epoll_calls : ring_calls, with_epoll ? sizeof epoll_calls : sizeof ring_calls);
  allow_calls(&program, allowed_calls, sizeof allowed_calls);
  add(&program, (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JGT | BPF_K, newest, 0, 1));
  answer(&program, SECCOMP_RET_ERRNO | ENOSYS);
  add_special_calls(&program);
  answer(&program, SECCOMP_RET_ERRNO | EPERM);
  struct sock_fprog filter = {program.count, program.steps};
  return syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0U, &filter) == 0 ? 0 : -errno;
}

#else

int uring_install_filter(int with_epoll) {
  (void)with_epoll;
  return -ENOSYS;
}

#endif

// For the proof that the sandbox holds: 0, or a negative errno.

// There is no process 0: who may trace at all is told so.
int uring_try_ptrace(void) { return ptrace(PTRACE_SEIZE, 0, NULL, NULL) == 0 || errno == ESRCH ? 0 : -errno; }

int uring_try_fork(void) {
  pid_t process = fork();
  if (process < 0) return -errno;
  if (process == 0) _exit(0);
  waitpid(process, NULL, 0);
  return 0;
}

int uring_try_new_ring(void) {
  struct io_uring_params parameters = {0};
  long ring = syscall(SYS_io_uring_setup, 4U, &parameters);
  if (ring < 0) return -errno;
  close((int)ring);
  return 0;
}

int uring_try_executable_memory(void) {
  void *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (page == MAP_FAILED) return -errno;
  munmap(page, 4096);
  return 0;
}

int uring_try_operation(struct io_uring *ring, uint8_t operation, int descriptor) {
  struct io_uring_sqe *entry = uring_next_submission(ring, operation, descriptor, 1);
  if (entry == NULL) return -EBUSY;
  struct io_uring_cqe *completion;
  int result = io_uring_submit(ring);
  if (result >= 0) result = io_uring_wait_cqe(ring, &completion);
  if (result < 0) return result;
  result = completion->res;
  io_uring_cqe_seen(ring, completion);
  return result;
}
