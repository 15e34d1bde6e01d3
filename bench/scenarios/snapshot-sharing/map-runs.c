// What a restore costs that maps a base file and, over it, N runs of one page each of another file; against one mapping of a whole file. All files are in
// the page cache. Over an area that was mapped before, as a memory that serves again. Prints a JSON array.
//
// fillUs: the system calls that fill the memory. useUs: then touching 64 pages, half of them for writing. resetUs: giving all pages back.
// how "read": instead of mapping the N runs, reading them into the mapped base.
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

enum { PAGE = 4096, TOUCHED = 64 };

static double now(void) {
  struct timespec at;
  clock_gettime(CLOCK_MONOTONIC, &at);
  return (double)at.tv_sec * 1e6 + (double)at.tv_nsec / 1e3;
}

static int by_value(const void *a, const void *b) { return (*(const double *)a > *(const double *)b) - (*(const double *)a < *(const double *)b); }

static double median(double *values, int count) {
  qsort(values, (size_t)count, sizeof *values, by_value);
  return values[count / 2];
}

static int file_of(const char *path, char value, size_t bytes) {
  char *page = malloc(bytes);
  for (size_t at = 0; at < bytes; at++) page[at] = value;
  int fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);
  if (fd < 0 || write(fd, page, bytes) != (ssize_t)bytes) exit(1);
  free(page);
  return fd;
}

static char *map(char *at, size_t bytes, int fd, size_t offset) {
  char *mapped = mmap(at, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_NORESERVE | MAP_FIXED, fd, (off_t)offset);
  if (mapped == MAP_FAILED) exit(2);
  return mapped;
}

int main(int argc, char **argv) {
  if (argc != 5) return 1;
  const size_t bytes = strtoul(argv[3], NULL, 10);
  const int samples = atoi(argv[4]);
  const int base = file_of(argv[1], 1, bytes), delta = file_of(argv[2], 2, bytes);
  char *const memory = mmap(NULL, bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  double *const fill = calloc((size_t)samples, sizeof(double)), *const use = calloc((size_t)samples, sizeof(double)), *const reset = calloc((size_t)samples, sizeof(double));
  const int counts[] = {0, 1, 10, 100, 500};
  const size_t pages = bytes / PAGE;
  volatile char sum = 0;
  printf("[");
  for (int reads = 0; reads < 2; reads++) {
    for (int which = 0; which < 5; which++) {
      const int count = counts[which];
      for (int sample = 0; sample < samples; sample++) {
        double start = now();
        map(memory, bytes, base, 0);
        for (int run = 0; run < count; run++) {
          const size_t offset = pages * (size_t)run / (size_t)count * PAGE;
          if (reads == 0) map(memory + offset, PAGE, delta, offset);
          else if (pread(delta, memory + offset, PAGE, (off_t)offset) != PAGE) return 3;
        }
        double filled = now();
        for (size_t at = 0; at < TOUCHED; at++) {
          char *const page = memory + pages * at / TOUCHED * PAGE;
          sum += *page;
          if (at % 2 == 0) page[8] = 1;
        }
        double used = now();
        madvise(memory, bytes, MADV_DONTNEED);
        fill[sample] = filled - start, use[sample] = used - filled, reset[sample] = now() - used;
      }
      const double medians[] = {median(fill, samples), median(use, samples), median(reset, samples)};
      printf("%s{\"how\":\"%s\",\"runs\":%d,\"fillUs\":%.1f,\"useUs\":%.1f,\"resetUs\":%.1f}", reads + which == 0 ? "" : ",", reads == 0 ? "map" : "read", count, medians[0], medians[1], medians[2]);
    }
  }
  printf("]\n");
  return 0;
}
