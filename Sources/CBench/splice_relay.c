#ifndef _GNU_SOURCE
#define _GNU_SOURCE  // F_SETPIPE_SZ, SPLICE_F_MOVE
#endif
#include "CBench.h"

#include <errno.h>
#include <fcntl.h>
#include <liburing.h>
#include <sys/socket.h>
#include <unistd.h>

// One direction: from a socket into a pipe, and what came out of the pipe into the other socket, in turns.
struct direction {
  int from, to;
  int pipe[2];
  int inside;  // bytes in the pipe
  int ended;
};

static void next(struct io_uring *ring, struct direction *direction, int pipe_bytes, unsigned long number) {
  struct io_uring_sqe *entry = io_uring_get_sqe(ring);
  if (direction->inside > 0) {
    io_uring_prep_splice(entry, direction->pipe[0], -1, direction->to, -1, direction->inside, SPLICE_F_MOVE);
  } else {
    io_uring_prep_splice(entry, direction->from, -1, direction->pipe[1], -1, pipe_bytes, SPLICE_F_MOVE);
  }
  entry->user_data = number;
}

int bench_splice_relay(int client, int server, int pipe_bytes) {
  struct io_uring ring;
  int result = io_uring_queue_init(16, &ring, IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN);
  if (result < 0) return result;
  struct direction directions[2] = {{.from = client, .to = server}, {.from = server, .to = client}};
  for (unsigned long number = 0; number < 2; number++) {
    if (pipe2(directions[number].pipe, O_CLOEXEC) < 0) return -errno;
    fcntl(directions[number].pipe[1], F_SETPIPE_SZ, pipe_bytes);
    next(&ring, &directions[number], pipe_bytes, number);
  }
  int open = 2;
  while (open > 0) {
    result = io_uring_submit_and_wait(&ring, 1);
    if (result == -EINTR) continue;
    if (result < 0) break;
    struct io_uring_cqe *completion;
    while (io_uring_peek_cqe(&ring, &completion) == 0) {
      unsigned long number = completion->user_data;
      int moved = completion->res;
      io_uring_cqe_seen(&ring, completion);
      struct direction *direction = &directions[number];
      if (moved > 0) {
        direction->inside = direction->inside > 0 ? direction->inside - moved : moved;
        next(&ring, direction, pipe_bytes, number);
      } else if (moved == -EINTR || moved == -EAGAIN) {
        next(&ring, direction, pipe_bytes, number);
      } else {
        // The end of this stream, or its failure: the other side hears of it.
        shutdown(direction->to, SHUT_WR);
        if (moved < 0) shutdown(direction->from, SHUT_RDWR);
        open -= 1;
      }
    }
  }
  for (int number = 0; number < 2; number++) {
    close(directions[number].pipe[0]);
    close(directions[number].pipe[1]);
  }
  io_uring_queue_exit(&ring);
  return result < 0 ? result : 0;
}
