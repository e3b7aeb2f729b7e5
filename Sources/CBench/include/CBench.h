// What the benchmark's load needs of the C library and Swift's Glibc module does not have.
#ifndef URING_RAWLOG_CBENCH_H
#define URING_RAWLOG_CBENCH_H

#include <sys/epoll.h>

/// accept4(2): a socket that is closed on execve(2); non-blocking when `nonblocking` is not 0.
int bench_accept(int listener, int nonblocking);
/// pipe2(2): both ends are closed on execve(2).
int bench_pipe(int ends[2]);
/// The directories in this one are spread over the file system, not put close together (FS_TOPDIR_FL of
/// ioctl_iflags(2), ext4 only): 0, or -1.
int bench_spread_directories(const char *path);
/// Removes a directory and all in it, never following links (nftw(3)).
int bench_remove_tree(const char *path);
/// This process gets SIGTERM when the thread that started it ends; it stays so across execve(2) (PR_SET_PDEATHSIG).
int bench_end_with_parent(void);
/// Children of our children that lose their parent become ours (PR_SET_CHILD_SUBREAPER).
int bench_adopt_orphans(void);

/// Relays between two blocking sockets with IORING_OP_SPLICE through pipes of so many bytes until both have ended: 0, or
/// a negative errno.
int bench_splice_relay(int client, int server, int pipe_bytes);

/// A client's TLS on a connected socket that does not wait, without a look at the certificate; NULL when OpenSSL refuses.
/// Sending and receiving answer as send(2) and recv(2) do; the handshake is a part of either.
struct bench_tls;
struct bench_tls *bench_tls_new(int socket);
long bench_tls_send(struct bench_tls *tls, const void *bytes, unsigned long count);
long bench_tls_receive(struct bench_tls *tls, void *bytes, unsigned long count);
/// Says close_notify if the socket takes it, and gives the memory back; the socket stays open.
void bench_tls_end(struct bench_tls *tls);

#endif
