/* The smallest function in C: answers "hello". */
#include "skep.h"

SKEP_EXPORT(handle) int handle(void) {
  skep_output_write("hello", 5);
  return 0;
}
