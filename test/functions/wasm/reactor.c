// A reactor: initialised before the snapshot, `handle` per invocation, by the platform's own functions (skep.h).
#include "skep.h"
#include <stdlib.h>
#include <string.h>

static char head[8192];
static char body[65536];
static int prepared[1000];
static int count;
static int (*operation)(int);

static int twice(int value) { return value * 2; }
static int square(int value) { return value * value; }

static void text(const char *what) { skep_output_write(what, strlen(what)); }

static void number(long long value) {
  char digits[24];
  int at = sizeof digits;
  unsigned long long rest = value < 0 ? -(unsigned long long)value : (unsigned long long)value;
  do digits[--at] = (char)('0' + rest % 10); while (rest /= 10);
  if (value < 0) digits[--at] = '-';
  skep_output_write(digits + at, sizeof digits - (size_t)at);
}

static void show(int handle) {
  if (handle < 0) {
    text("error ");
    number(handle);
    text(" ");
    int size = skep_last_error(body, sizeof body);
    skep_output_write(body, (size_t)size);
    return;
  }
  int status = skep_result_status(handle);
  number(status);
  text(" ");
  for (int size; (size = skep_result_read(handle, body, sizeof body)) > 0;) skep_output_write(body, (size_t)size);
  if (status < 0) {
    int size = skep_last_error(body, sizeof body);
    skep_output_write(body, (size_t)size);
  }
  skep_result_close(handle);
}

SKEP_EXPORT(skep_init) void skep_init(void) {
  for (int at = 0; at < 1000; at++) prepared[at] = at * 3;
  count = 100;
  operation = getenv("SQUARE") != 0 ? square : twice;
  if (skep_status(200) != SKEP_NOT_NOW) abort();
}

SKEP_EXPORT(handle) int handle(void) {
  int size = skep_request_head(head, sizeof head - 1);
  head[size] = 0;
  char *url = strstr(head, "\"url\":\"") + 7;
  *strchr(url, '"') = 0;
  if (strcmp(url, "/state") == 0) {
    number(prepared[999]);
    text(" ");
    number(operation(7));
    text(" ");
    number(++count);
  } else if (strcmp(url, "/status") == 0) {
    skep_status(201);
    skep_header("x-made-by", 9, "C", 1);
    skep_header("content-type", 12, "application/json", 16);
    if (skep_header("bad name", 8, "x", 1) != SKEP_INVALID || skep_status(99) != SKEP_INVALID) return 5;
    text("{}");
  } else if (strcmp(url, "/echo") == 0) {
    number(skep_input_size());
    text(":");
    for (int got; (got = skep_input_read(body, sizeof body)) > 0;) skep_output_write(body, (size_t)got);
  } else if (strcmp(url, "/head") == 0) {
    size = skep_request_head(head, sizeof head);
    skep_output_write(head, (size_t)size);
  } else if (strcmp(url, "/fail") == 0) return 7;
  else if (strcmp(url, "/two-calls") == 0) {
    int first = skep_invoke("other", 5, "1", 1, 0, 0);
    int second = skep_invoke("space/other", 11, "2", 1, SKEP_LATER, 5000);
    show(first);
    text("\n");
    show(second);
  } else if (strcmp(url, "/call-http") == 0) {
    const char *request = "{\"function\":\"other\",\"url\":\"/x?y=1\",\"method\":\"put\",\"headers\":[[\"X-A\",\"b\"]]}";
    show(skep_fetch(request, strlen(request), "body", 4, 0));
  } else if (strcmp(url, "/fetch") == 0) {
    int got = skep_input_read(body, sizeof body);
    show(skep_fetch(body, (size_t)got, 0, 0, 0));
  } else if (strcmp(url, "/log") == 0) {
    skep_log(SKEP_WARN, "careful", 7);
    number(skep_log(9, "x", 1));
  } else if (strcmp(url, "/fault") == 0) {
    number(skep_output_write((void *)0xfffffff0u, 64));
    number(skep_random((void *)0x7fffffffu, 1));
    number(skep_result_status(77));
  } else if (strcmp(url, "/misc") == 0) {
    number(skep_deadline_ms() > 0);
    size = skep_invocation_id(body, sizeof body);
    text(" ");
    skep_output_write(body, (size_t)size);
  } else if (strcmp(url, "/many") == 0) {
    int handle = 0;
    for (int at = 0; at < 70 && handle >= 0; at++) handle = skep_invoke("other", 5, "1", 1, 0, 0);
    number(handle);
  } else text("?");
  return 0;
}
