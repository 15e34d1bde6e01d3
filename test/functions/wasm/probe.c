// Looks at its sandbox from inside: PATH_INFO says what to try, QUERY_STRING with what. It tells one line, and stays.
#include "skep.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char buffer[64 * 1024];

static void put(const char *text, size_t size) {
  while (size > 0) {
    ssize_t written = write(1, text, size);
    if (written < 0) _Exit(90);
    text += written;
    size -= (size_t)written;
  }
}

static void tell(const char *text) {
  put(text, strlen(text));
  put("\n", 1);
  for (;;) sleep(1000);
}

static const char *name_of(int error) {
  switch (error) {
    case ENOENT: return "ENOENT";
    case EROFS: return "EROFS";
    case ENOSPC: return "ENOSPC";
    case EACCES: return "EACCES";
    case ENOTCAPABLE: return "ENOTCAPABLE";
    default: return "another error";
  }
}

static void try_open(const char *path, int flags) {
  int fd = open(path, flags, 0600);
  if (fd < 0) tell(name_of(errno));
  if (flags != O_RDONLY && write(fd, "x", 1) != 1) tell(name_of(errno));
  tell("yes");
}

int main(void) {
  const char *what = getenv("PATH_INFO"), *with = getenv("QUERY_STRING");
  if (strcmp(what, "/exit") == 0) exit(atoi(with));
  if (strcmp(what, "/echo") == 0) {
    for (ssize_t size; (size = read(0, buffer, sizeof buffer)) > 0;) put(buffer, (size_t)size);
    return 0;
  }
  if (strcmp(what, "/eat-memory") == 0) {
    for (;;) {
      volatile char *more = malloc(1 << 20);
      if (more == 0) abort();
      for (int at = 0; at < 1 << 20; at += 4096) more[at] = 1;
    }
  }
  if (strcmp(what, "/can-read") == 0) try_open(with, O_RDONLY);
  if (strcmp(what, "/can-write") == 0) try_open(with, O_WRONLY | O_CREAT);
  if (strcmp(what, "/fill-tmp") == 0) {
    int fd = open("/tmp/full", O_WRONLY | O_CREAT, 0600);
    long bytes = 0;
    for (ssize_t size; (size = write(fd, buffer, 4096)) > 0;) bytes += size;
    snprintf(buffer, sizeof buffer, "%ld", bytes);
    tell(errno == ENOSPC ? buffer : name_of(errno));
  }
  if (strcmp(what, "/can-connect") == 0) {
    int size = snprintf(buffer, 200, "{\"url\":\"http://127.0.0.1:%s/\"}", with);
    int handle = skep_fetch(buffer, (size_t)size, 0, 0, 0);
    if (handle < 0) tell(handle == SKEP_NO_NETWORK ? "EACCES" : "another error");
    if (skep_result_status(handle) >= 0) tell("yes");
    buffer[skep_last_error(buffer, sizeof buffer - 1)] = 0;
    // A server that hangs up has been reached.
    tell(strstr(buffer, "REFUSED") == 0 ? "yes" : "ECONNREFUSED");
  }
  tell(what + 1);
}
