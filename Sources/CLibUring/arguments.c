#include "CLibUring.h"

int uring_argument_count;
char **uring_arguments;

// The C library gives them to whatever it calls before main; Swift without its runtime keeps them from us.
__attribute__((constructor)) static void keep_arguments(int count, char **arguments) {
  uring_argument_count = count;
  uring_arguments = arguments;
}
