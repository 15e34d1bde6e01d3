/*
 * What a WebAssembly function on Skep can ask of the platform, besides WASI preview 1. docs/wasm-abi.md says more.
 *
 * Every function returns a size, a handle or 0, or one of the negative numbers below. Texts are given as (address, bytes),
 * UTF-8, without a null byte at the end. Functions that give a text write as much as there is room for and return its whole
 * size: ask again with more room when it is larger.
 */
#ifndef SKEP_H
#define SKEP_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define SKEP_IMPORT(name) __attribute__((import_module("skep"), import_name(#name)))
/* Makes a function visible to the platform: SKEP_EXPORT(handle) int handle(void) { ... } */
#define SKEP_EXPORT(name) __attribute__((export_name(#name)))

enum skep_error {
  SKEP_INVALID = -1,    /* an argument is not what it must be */
  SKEP_FAULT = -2,      /* an address or size reaches beyond the memory */
  SKEP_NOT_NOW = -3,    /* there is no invocation: the instance is being initialised */
  SKEP_TOO_LATE = -4,   /* the answer's status and headers have left already */
  SKEP_NO_NETWORK = -5, /* the function may not use the network */
  SKEP_FAILED = -6,     /* the call or request failed: skep_last_error says how */
  SKEP_BAD_HANDLE = -7, /* there is no result of this handle */
  SKEP_TOO_MANY = -8,   /* 64 results are open: close one first */
  SKEP_CLOSED = -9      /* the request's body broke off */
};

enum skep_level { SKEP_DEBUG = 0, SKEP_INFO = 1, SKEP_WARN = 2, SKEP_ERROR = 3 };

/* --- The request ------------------------------------------------------------------------------------------------- */

/* Bytes of the request's body; -1 when that is not known before it ends. */
SKEP_IMPORT(input_size) int64_t skep_input_size(void);

/* Reads the next bytes of the body, at least 1. 0 at its end. Waits. The same bytes as standard input. */
SKEP_IMPORT(input_read) int32_t skep_input_read(void *to, size_t size);

/* Puts all of the body at `to`, which is a multiple of SKEP_PAGE, with room for whole pages: skep_pages(size). A body that was passed as
 * memory (from some 64 KB, from another function) is mapped there, copy-on-write, and not copied. The last page's rest is zero. Waits.
 * 0; SKEP_INVALID when the room is too small, which nothing is lost by when the size was known. */
SKEP_IMPORT(input_map) int32_t skep_input_map(void *to, size_t room);

/* The request as JSON: {"kind":"http"|"event","id","method","url","headers":[[name,value]…],"deadline","traceparent","attempt"}. */
SKEP_IMPORT(request_head) int32_t skep_request_head(char *to, size_t size);

/* The invocation's id. */
SKEP_IMPORT(invocation_id) int32_t skep_invocation_id(char *to, size_t size);

/* When the invocation must have ended, ms since 1970; -1 when there is no limit. */
SKEP_IMPORT(deadline_ms) int64_t skep_deadline_ms(void);

/* --- The answer -------------------------------------------------------------------------------------------------- */

/* The answer's status, 200 to 599; 200 when none is set. SKEP_TOO_LATE once the answer has begun to leave: after 64 KB of
 * it, or when the function waits after it has written something. */
SKEP_IMPORT(status) int32_t skep_status(int32_t status);

/* Adds a header. Without a content-type the answer is text/plain if it is UTF-8, else application/octet-stream. */
SKEP_IMPORT(header) int32_t skep_header(const char *name, size_t name_size, const char *value, size_t value_size);

/* Writes all of it to the answer. Waits while the receiver is slow. The same as standard output. An answer of more than 64 KB that is
 * written at once is passed as memory. */
SKEP_IMPORT(output_write) int32_t skep_output_write(const void *from, size_t size);

/* --- Calls and requests: beginning one never waits, asking for its result does ------------------------------------- */

enum skep_invoke_flags {
  SKEP_LATER = 1, /* accepted now, run later, retried by the platform: the result is its id */
  SKEP_BYTES = 2  /* the body is bytes, and not JSON */
};

/* Runs another function, "name" or "namespace/name", with a JSON body, or bytes. A handle. timeout_ms 0: the invocation's own limit. */
SKEP_IMPORT(invoke) int32_t skep_invoke(const char *name, size_t name_size, const void *body, size_t body_size, int32_t flags, int32_t timeout_ms);

/* Sends a request: {"url":"https://…","method":"GET","headers":[[name,value]…]}. With "function":"name", "url" is a path and the
 * request goes to that function, without the network. A handle. */
SKEP_IMPORT(fetch) int32_t skep_fetch(const char *request, size_t request_size, const void *body, size_t body_size, int32_t timeout_ms);

/* The result's HTTP status. Waits for it. */
SKEP_IMPORT(result_status) int32_t skep_result_status(int32_t handle);

/* {"status":200,"headers":[[name,value]…]}. Waits for it. */
SKEP_IMPORT(result_head) int32_t skep_result_head(int32_t handle, char *to, size_t size);

/* The next bytes of the result's body, at least 1. 0 at its end. Waits. */
SKEP_IMPORT(result_read) int32_t skep_result_read(int32_t handle, void *to, size_t size);

/* Bytes of the result's body; -1 when that is not known before its end. Waits for its head. */
SKEP_IMPORT(result_size) int64_t skep_result_size(int32_t handle);

/* Puts all of the result's body at `to`, as skep_input_map does. Waits. 0 or an error. */
SKEP_IMPORT(result_map) int32_t skep_result_map(int32_t handle, void *to, size_t room);

/* Lets go of a result. What is open at the end of the invocation is cancelled. */
SKEP_IMPORT(result_close) int32_t skep_result_close(int32_t handle);

/* Why the last one failed: {"code":"FUNCTION_NOT_FOUND","message":"…"}. 0 when none has. */
SKEP_IMPORT(last_error) int32_t skep_last_error(char *to, size_t size);

/* --- Objects: put here, got by whoever has the reference, on any machine ---------------------------------------------- */

#define SKEP_PAGE 4096
/* Room that every reference fits into; it has no null byte at its end. */
#define SKEP_REFERENCE_MAX 1024

/* Bytes of the whole pages that an object of this size is mapped to: aligned_alloc(SKEP_PAGE, skep_pages(size)). */
static inline size_t skep_pages(size_t size) { return (size + SKEP_PAGE - 1) / SKEP_PAGE * SKEP_PAGE; }

/* Keeps an object, as it is now, and gives its reference: a text. `retrievals` are how often it can be got (0: once), `ttl_ms` how
 * long it is kept (0: the platform's own). `room` is SKEP_REFERENCE_MAX or more. Waits. Bytes of the reference, or an error. */
SKEP_IMPORT(put) int32_t skep_put(const void *from, size_t size, int32_t retrievals, int32_t ttl_ms, char *to, size_t room);

/* The same piece by piece, for what is larger than the memory. A handle; then writes, which wait until the bytes have left, and
 * closing, which gives the reference. A handle that is closed by skep_result_close has put nothing. */
SKEP_IMPORT(put_open) int32_t skep_put_open(int32_t retrievals, int32_t ttl_ms);
SKEP_IMPORT(put_write) int32_t skep_put_write(int32_t handle, const void *from, size_t size);
SKEP_IMPORT(put_close) int32_t skep_put_close(int32_t handle, char *to, size_t room);

enum skep_get_flags { SKEP_STREAM = 1 /* piece by piece, beginning before all of it is here: skep_result_read, and not to be mapped */ };

/* Begins to get an object. A handle: skep_result_size and skep_result_map, or skep_result_read. */
SKEP_IMPORT(get) int32_t skep_get(const char *reference, size_t size, int32_t flags);

/* --- The rest ------------------------------------------------------------------------------------------------------ */

/* An entry of the invocation's log. */
SKEP_IMPORT(log) int32_t skep_log(int32_t level, const char *text, size_t size);

/* Random bytes, different in every instance also when they come from one snapshot. */
SKEP_IMPORT(random) int32_t skep_random(void *to, size_t size);

#ifdef __cplusplus
}
#endif

#endif
