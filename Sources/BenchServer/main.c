// A mail server that says what it is told, one answer for each line, and leaves: the program behind a post-login recorder
// in `uring-rawlog bench --workload postlogin`. It costs next to nothing, so that what is measured is the recorder.
#include <errno.h>
#include <poll.h>
#include <stdbool.h>
#include <string.h>
#include <unistd.h>

// Descriptors 0 and 1 may be a socket that does not block.
static bool ready(int descriptor, short events) {
  struct pollfd watched = {descriptor, events, 0};
  while (poll(&watched, 1, -1) < 0) {
    if (errno != EINTR) return false;
  }
  return true;
}

static bool say(const char *text) {
  size_t left = strlen(text);
  while (left > 0) {
    ssize_t count = write(1, text, left);
    if (count < 0 && errno != EAGAIN && errno != EINTR) return false;
    if (count < 0 && !ready(1, POLLOUT)) return false;
    if (count > 0) text += count, left -= (size_t)count;
  }
  return true;
}

// Each line is answered before the next one comes.
static bool hear(void) {
  char bytes[4096];
  while (ready(0, POLLIN)) {
    ssize_t count = read(0, bytes, sizeof bytes);
    if (count > 0 && bytes[count - 1] == '\n') return true;
    if (count == 0 || (count < 0 && errno != EAGAIN && errno != EINTR)) return false;
  }
  return false;
}

int main(int count, char **answers) {
  for (int index = 1; index < count; index += 1) {
    if ((index > 1 && !hear()) || !say(answers[index])) return 1;
  }
  return 0;
}
