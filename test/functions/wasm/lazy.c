// A reactor that makes what it needs at its first call, and keeps it: primes up to two million, on the heap. Answers how many there are, how often
// this instance was called before, and whether they were there.
#include "skep.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LIMIT 2000000

static unsigned char *sieve;
static int count;

static int prepare(void) {
  sieve = malloc(LIMIT);
  if (sieve == 0) return 0;
  memset(sieve, 1, LIMIT);
  for (int at = 2; at * at < LIMIT; at++)
    if (sieve[at]) for (int multiple = at * at; multiple < LIMIT; multiple += at) sieve[multiple] = 0;
  return 1;
}

SKEP_EXPORT(handle) int handle(void) {
  int wasThere = sieve != 0;
  if (!wasThere && !prepare()) return 1;
  int primes = 0;
  for (int at = 2; at < 10000; at++) primes += sieve[at];
  char text[128];
  int size = snprintf(text, sizeof text, "{\"wasThere\":%s,\"primes\":%d,\"count\":%d}", wasThere ? "true" : "false", primes, ++count);
  skep_output_write(text, (size_t)size);
  return 0;
}
