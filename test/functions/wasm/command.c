// A command: what it does is said by PATH_INFO. Without stdio, to stay small.
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

extern char **environ;

static char buffer[64 * 1024];

static void put(int fd, const char *text, size_t size) {
  while (size > 0) {
    ssize_t written = write(fd, text, size);
    if (written < 0) _Exit(90);
    text += written;
    size -= (size_t)written;
  }
}

static void say(const char *text) { put(1, text, strlen(text)); }

static void number(long long value) {
  char text[24];
  int at = sizeof text;
  unsigned long long rest = value < 0 ? -(unsigned long long)value : (unsigned long long)value;
  do text[--at] = (char)('0' + rest % 10); while (rest /= 10);
  if (value < 0) text[--at] = '-';
  put(1, text + at, sizeof text - (size_t)at);
}

static void check(int ok, const char *what) {
  if (ok) return;
  say(what);
  say(" failed: ");
  number(errno);
  _Exit(91);
}

static void echo(void) {
  for (;;) {
    ssize_t size = read(0, buffer, sizeof buffer);
    check(size >= 0, "read");
    if (size == 0) return;
    put(1, buffer, (size_t)size);
  }
}

static void files(void) {
  int fd = open("/app/data.txt", O_RDONLY);
  check(fd >= 0, "open");
  ssize_t size = read(fd, buffer, sizeof buffer);
  put(1, buffer, (size_t)size);
  close(fd);
  say("\nwriting it: ");
  check(open("/app/data.txt", O_WRONLY) < 0, "refusing to write");
  number(errno == EROFS);
  check(mkdir("/tmp/deep", 0700) == 0, "mkdir");
  fd = open("/tmp/deep/one", O_RDWR | O_CREAT | O_EXCL, 0600);
  check(fd >= 0, "create");
  put(fd, "hello file", 10);
  check(lseek(fd, 6, SEEK_SET) == 6, "seek");
  size = read(fd, buffer, sizeof buffer);
  say("\nread: ");
  put(1, buffer, (size_t)size);
  close(fd);
  check(rename("/tmp/deep/one", "/tmp/deep/two") == 0, "rename");
  struct stat stat_of;
  check(stat("/tmp/deep/two", &stat_of) == 0, "stat");
  say("\nsize: ");
  number(stat_of.st_size);
  check(rmdir("/tmp/deep") < 0 && errno == ENOTEMPTY, "refusing to remove");
  DIR *directory = opendir("/tmp/deep");
  check(directory != 0, "opendir");
  say("\nentries:");
  for (struct dirent *entry; (entry = readdir(directory)) != 0;) {
    if (entry->d_name[0] == '.') continue;
    say(" ");
    say(entry->d_name);
  }
  closedir(directory);
  check(unlink("/tmp/deep/two") == 0 && rmdir("/tmp/deep") == 0, "remove");
  check(open("/../../etc/passwd", O_RDONLY) < 0 && errno == ENOENT, "staying inside");
  say("\n");
}

static void fill(void) {
  int fd = open("/tmp/large", O_WRONLY | O_CREAT, 0600);
  long long written = 0;
  for (;;) {
    ssize_t size = write(fd, buffer, sizeof buffer);
    if (size < 0) break;
    written += size;
  }
  number(written);
  say(errno == ENOSPC ? " bytes, then ENOSPC" : " bytes, then another error");
}

static int deep(volatile int depth) { return depth == 0 ? 0 : deep(depth + 1) + depth; }

int main(int argc, char **argv) {
  const char *path = getenv("PATH_INFO");
  if (path == 0) path = "/";
  if (strcmp(path, "/echo") == 0) echo();
  else if (strcmp(path, "/env") == 0) {
    for (int at = 0; at < argc; at++) { say(argv[at]); say("\n"); }
    for (char **one = environ; *one != 0; one++) { say(*one); say("\n"); }
  } else if (strcmp(path, "/exit") == 0) {
    say("this is dropped");
    put(2, "first line\nlast words", 21);
    exit(atoi(getenv("QUERY_STRING")));
  } else if (strcmp(path, "/late-exit") == 0) {
    for (int at = 0; at < 4; at++) put(1, buffer, sizeof buffer);
    exit(3);
  } else if (strcmp(path, "/files") == 0) files();
  else if (strcmp(path, "/fill") == 0) fill();
  else if (strcmp(path, "/trap") == 0) __builtin_trap();
  else if (strcmp(path, "/deep") == 0) number(deep(1));
  else if (strcmp(path, "/spin") == 0) for (volatile int at = 0;; at++);
  else if (strcmp(path, "/oom") == 0) {
    for (;;) {
      volatile char *more = malloc(1 << 20);
      if (more == 0) abort();
      more[1] = 1;
    }
  } else if (strcmp(path, "/sleep") == 0) {
    struct timespec before, after, pause = {0, atoi(getenv("QUERY_STRING")) * 1000000};
    clock_gettime(CLOCK_MONOTONIC, &before);
    if (getenv("HTTP_X_SAY") != 0) say("before ");
    nanosleep(&pause, 0);
    clock_gettime(CLOCK_MONOTONIC, &after);
    number((after.tv_sec - before.tv_sec) * 1000 + (after.tv_nsec - before.tv_nsec) / 1000000);
  } else if (strcmp(path, "/large") == 0) {
    memset(buffer, 'x', sizeof buffer);
    for (int at = 0; at < 64; at++) put(1, buffer, sizeof buffer);
  } else if (strcmp(path, "/binary") == 0) put(1, "\0\1\2\3", 4);
  else if (strcmp(path, "/random") == 0) {
    uint8_t bytes[16];
    check(getentropy(bytes, sizeof bytes) == 0, "getentropy");
    for (int at = 0; at < 16; at++) number(bytes[at]), say(",");
  } else if (strcmp(path, "/time") == 0) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    number(now.tv_sec * 1000LL + now.tv_nsec / 1000000);
  } else {
    say("hello from C");
    ssize_t size = read(0, buffer, sizeof buffer);
    if (size > 0) { say(", "); put(1, buffer, (size_t)size); }
  }
  return 0;
}
