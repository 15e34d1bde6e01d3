// Objects and large bodies in a reactor: put, get, mapped and streamed, in and out. What it is asked to do is the path of the request,
// whose body is a reference; a call with bytes is passed on to NEXT, or given back.
#include "skep.h"
#include <stdlib.h>
#include <string.h>

#define BLOCK 65521
#define PIECE 65536

static char head[8192];
static char reference[SKEP_REFERENCE_MAX];
static unsigned char piece[PIECE];
static unsigned char block[BLOCK];
static uint32_t table[256];
// In the snapshot, and all zero there: what one invocation maps over it, the next one must not see.
static unsigned char window[1 << 20] __attribute__((aligned(SKEP_PAGE)));

static void text(const char *what) { skep_output_write(what, strlen(what)); }

static void number(long long value) {
  char digits[24];
  int at = sizeof digits;
  unsigned long long rest = value < 0 ? -(unsigned long long)value : (unsigned long long)value;
  do digits[--at] = (char)('0' + rest % 10); while (rest /= 10);
  if (value < 0) digits[--at] = '-';
  skep_output_write(digits + at, sizeof digits - (size_t)at);
  text(" ");
}

static uint32_t crc(uint32_t sum, const unsigned char *bytes, size_t size) {
  sum = ~sum;
  for (size_t at = 0; at < size; at++) sum = table[(sum ^ bytes[at]) & 255] ^ sum >> 8;
  return ~sum;
}

static void fill(unsigned char *bytes, size_t size) {
  for (size_t at = 0; at < size; at += BLOCK) memcpy(bytes + at, block, size - at < BLOCK ? size - at : BLOCK);
}

static int problem(long long error) {
  char why[2048];
  text("error ");
  number(error);
  skep_output_write(why, (size_t)skep_last_error(why, sizeof why));
  return 0;
}

static int show(int size) { return size < 0 ? problem(size) : (skep_output_write(reference, (size_t)size), 0); }

// The body of the request or of a result, mapped; 0 when that failed.
static unsigned char *mapped(int handle, size_t *size) {
  int64_t bytes = handle == 0 ? skep_input_size() : skep_result_size(handle);
  if (bytes < 0) return problem(bytes), (unsigned char *)0;
  size_t room = skep_pages((size_t)bytes);
  unsigned char *to = aligned_alloc(SKEP_PAGE, room == 0 ? SKEP_PAGE : room);
  if (to == 0) return problem(-99), (unsigned char *)0;
  int done = handle == 0 ? skep_input_map(to, room) : skep_result_map(handle, to, room);
  if (done < 0) return problem(done), (unsigned char *)0;
  *size = (size_t)bytes;
  return to;
}

static int get(const char *how, size_t named, int retrievals) {
  int handle = skep_get(reference, named, strcmp(how, "/get") == 0 || strcmp(how, "/touch") == 0 ? 0 : SKEP_STREAM);
  if (handle < 0) return problem(handle);
  if (strcmp(how, "/get") == 0 || strcmp(how, "/touch") == 0) {
    size_t size;
    unsigned char *bytes = mapped(handle, &size);
    if (bytes == 0) return 0;
    number((long long)size);
    if (strcmp(how, "/touch") == 0) return 0;
    number(crc(0, bytes, size));
    size_t rest = 0;
    for (size_t at = size; at < skep_pages(size); at++) rest += bytes[at];
    number((long long)rest);
    // Nobody else may see this.
    memset(bytes, 7, size);
    return 0;
  }
  // Streamed: summed, and with /pass-on put again on the way.
  int put = strcmp(how, "/pass-on") == 0 ? skep_put_open(retrievals, 0) : 0;
  long long size = 0;
  uint32_t sum = 0;
  for (int got; (got = skep_result_read(handle, piece, sizeof piece)) != 0; size += got) {
    if (got < 0) return problem(got);
    sum = crc(sum, piece, (size_t)got);
    int wrote = put == 0 ? 0 : skep_put_write(put, piece, (size_t)got);
    if (wrote < 0) return problem(wrote);
  }
  number(size);
  number(sum);
  return put == 0 ? 0 : show(skep_put_close(put, reference, sizeof reference));
}

static int misused(void) {
  unsigned char *end = (unsigned char *)(__builtin_wasm_memory_size(0) * 65536);
  int handle = skep_get(reference, (size_t)skep_put(block, 5000, 1, 0, reference, sizeof reference), 0);
  number(skep_result_size(handle));
  number(skep_result_map(handle, window + 1, sizeof window - 1));
  number(skep_result_map(handle, window, 4096));
  number(skep_result_map(handle, window, 8191));
  number(skep_result_map(handle, end - 4096, 8192));
  number(skep_result_map(handle, (void *)0xfffff000u, 8192));
  number(skep_result_map(77, window, 8192));
  number(skep_put(end - 10, 20, 0, 0, reference, sizeof reference));
  number(skep_put(block, 20, 0, 0, reference, 10));
  number(skep_put(block, 20, 0, 0, (char *)end - 10, sizeof reference));
  number(skep_get((const char *)end - 2, 20, 0));
  number(skep_get(reference, 0, 0));
  number(skep_get(reference, 5, 6));
  number(skep_put_write(handle, block, 1));
  number(skep_input_map(window + 8, 4096));
  number(skep_input_map(end - 4096, 8192));
  // None of that has spoilt it.
  number(skep_result_map(handle, window, 8192));
  number(crc(0, window, 5000) == crc(0, block, 5000));
  return 0;
}

SKEP_EXPORT(skep_init) void skep_init(void) {
  for (uint32_t at = 0; at < BLOCK; at++) block[at] = (unsigned char)(at * 2654435761u >> 24);
  for (uint32_t at = 0; at < 256; at++) {
    uint32_t sum = at;
    for (int bit = 0; bit < 8; bit++) sum = sum & 1 ? sum >> 1 ^ 0xedb88320u : sum >> 1;
    table[at] = sum;
  }
}

SKEP_EXPORT(handle) int handle(void) {
  int length = skep_request_head(head, sizeof head - 1);
  head[length] = 0;
  char *url = strstr(head, "\"url\":\"") + 7;
  *strchr(url, '"') = 0;
  char *query = strchr(url, '=');
  long long bytes = query == 0 ? 0 : atoll(query + 1);
  char *more = query == 0 ? 0 : strchr(query + 1, '=');
  int retrievals = more == 0 ? 0 : atoi(more + 1);
  char *path = url;
  if (strchr(path, '?') != 0) *strchr(path, '?') = 0;

  if (strcmp(path, "/put") == 0) {
    unsigned char *made = malloc((size_t)bytes + 1);
    if (made == 0) return problem(-99);
    fill(made, (size_t)bytes);
    return show(skep_put(made, (size_t)bytes, retrievals, 0, reference, sizeof reference));
  }
  if (strcmp(path, "/put-stream") == 0) {
    int handle = skep_put_open(retrievals, 0);
    for (long long at = 0; at < bytes; at += BLOCK) {
      int wrote = skep_put_write(handle, block, bytes - at < BLOCK ? (size_t)(bytes - at) : BLOCK);
      if (wrote < 0) return problem(wrote);
    }
    return show(skep_put_close(handle, reference, sizeof reference));
  }
  if (strcmp(path, "/abandon") == 0) {
    // One is let go of, one left open; neither is an object.
    int closed = skep_put_open(1, 0);
    int left = skep_put_open(1, 0);
    for (int time = 0; time < 8; time++) number(skep_put_write(time % 2 == 0 ? closed : left, block, BLOCK));
    number(skep_result_close(closed));
    number(skep_put_write(closed, block, BLOCK));
    number(skep_put_close(closed, reference, sizeof reference));
    return 0;
  }
  if (strcmp(path, "/misused") == 0) return misused();
  if (strcmp(path, "/echo") == 0 || strcmp(path, "/") == 0) {
    size_t size;
    unsigned char *body = mapped(0, &size);
    if (body == 0) return 0;
    char *next = getenv("NEXT");
    if (next != 0) {
      int handle = skep_invoke(next, strlen(next), body, size, SKEP_BYTES, 0);
      if ((body = mapped(handle, &size)) == 0) return 0;
    }
    skep_header("content-type", 12, "application/octet-stream", 24);
    skep_output_write(body, size);
    return 0;
  }
  if (strcmp(path, "/pieces") == 0) {
    // One large piece, which is held, and more.
    size_t size;
    unsigned char *body = mapped(0, &size);
    if (body == 0) return 0;
    skep_output_write(body, size);
    memset(body, 7, size);
    text("end");
    return 0;
  }
  if (strcmp(path, "/through") == 0) {
    // To standard input of a command, and back from its standard output.
    const char *request = "{\"function\":\"command\",\"url\":\"/echo\",\"method\":\"POST\"}";
    size_t size;
    unsigned char *body = mapped(0, &size);
    if (body == 0) return 0;
    int handle = skep_fetch(request, strlen(request), body, size, 0);
    memset(body, 7, size);
    for (int got; (got = skep_result_read(handle, piece, sizeof piece)) != 0;) {
      if (got < 0) return problem(got);
      skep_output_write(piece, (size_t)got);
    }
    return 0;
  }
  int named = skep_input_read(reference, sizeof reference);
  if (strcmp(path, "/window") == 0) {
    // What was here before, then an object over it.
    size_t seen = 0;
    for (size_t at = 0; at < sizeof window; at++) seen += window[at];
    number((long long)seen);
    int handle = skep_get(reference, (size_t)named, 0);
    number(skep_result_map(handle, window, sizeof window));
    number(crc(0, window, (size_t)skep_result_size(handle)));
    for (size_t at = 0; at < sizeof window; at += 2 * SKEP_PAGE) window[at] = 9;
    return 0;
  }
  return get(path, (size_t)named, retrievals);
}
