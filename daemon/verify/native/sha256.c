/*
 * Compresses whole SHA-256 blocks from a given state, which node:crypto has no way to do, with the OpenSSL that Node.js
 * has inside and exports. The work is done in libuv's thread pool.
 *
 *   advance(state: Uint8Array of 32, bytes: Uint8Array of whole blocks): Promise<Uint8Array of 32>
 *   write(state: Uint8Array of 32, bytes: Uint8Array, start: number, end: number, file: number, position: number):
 *     Promise<Uint8Array of 32 | number>
 *
 * write() compresses the whole blocks from start to end, and writes all the bytes to their position in the file. It gives
 * the errno where that fails. One task does both, as handing over a task costs the main thread as much as half a write.
 *
 * daemon/verify/native.ts says what the bytes are, and tests a known answer before it trusts what is declared here.
 */
#define _GNU_SOURCE /* RTLD_DEFAULT */
#define NAPI_VERSION 8
#include <dlfcn.h>
#include <errno.h>
#include <node_api.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <unistd.h>

enum { STATE_BYTES = 32, BLOCK_BYTES = 64 };

/* Up to this length, handing the work to another thread and back costs more than doing it. */
enum { INLINE_BYTES = 16 * 1024 };

/* So much is written and hashed in turn: it is still in the processor's cache for the second of them. */
enum { STEP_BYTES = 128 * 1024 };

enum { NO_FILE = -1 };

/* As in openssl/sha.h, which is not installed everywhere. */
typedef struct {
  uint32_t h[8];
  uint32_t Nl, Nh;
  uint32_t data[16];
  unsigned int num, md_len;
} SHA256_CTX;
typedef int (*Update)(SHA256_CTX *context, const void *bytes, size_t length);

/* Looked up by name: a symbol that was missing would end the process at its first use. */
static Update sha256_update;

typedef struct {
  SHA256_CTX context;
  const uint8_t *bytes;
  size_t length;
  /* What is hashed of them. */
  size_t start, end;
  int file;
  off_t position;
  /* errno of the write, or 0. */
  int failure;
  napi_ref keeps_bytes;
  napi_deferred deferred;
  napi_async_work work;
} Call;

static int write_all(int file, const uint8_t *bytes, size_t length, off_t position) {
  while (length > 0) {
    ssize_t written = pwrite(file, bytes, length, position);
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) return written < 0 ? errno : EIO;
    bytes += written;
    length -= (size_t)written;
    position += written;
  }
  return 0;
}

static void execute(napi_env env, void *data) {
  (void)env;
  Call *call = data;
  if (call->file == NO_FILE) {
    sha256_update(&call->context, call->bytes + call->start, call->end - call->start);
    return;
  }
  for (size_t at = 0, next; at < call->length && call->failure == 0; at = next) {
    next = call->length - at > STEP_BYTES ? at + STEP_BYTES : call->length;
    call->failure = write_all(call->file, call->bytes + at, next - at, call->position + (off_t)at);
    size_t from = at < call->start ? call->start : at, to = next < call->end ? next : call->end;
    /* It keeps the beginning of a block until the next step. */
    if (call->failure == 0 && from < to) sha256_update(&call->context, call->bytes + from, to - from);
  }
}

static napi_value state_of(napi_env env, const SHA256_CTX *context) {
  uint8_t *state;
  napi_value memory, array;
  if (napi_create_arraybuffer(env, STATE_BYTES, (void **)&state, &memory) != napi_ok) return NULL;
  for (int i = 0; i < STATE_BYTES; i++) state[i] = (uint8_t)(context->h[i / 4] >> (24 - 8 * (i % 4)));
  if (napi_create_typedarray(env, napi_uint8_array, STATE_BYTES, memory, 0, &array) != napi_ok) return NULL;
  return array;
}

/* Settles the promise, in the main thread. While Node.js ends, nothing can be settled any more; memory is freed then too. */
static void complete(napi_env env, napi_status status, void *data) {
  Call *call = data;
  napi_value result = NULL;
  if (status == napi_ok && call->failure == 0) result = state_of(env, &call->context);
  if (status == napi_ok && call->failure != 0 && napi_create_int32(env, call->failure, &result) != napi_ok) result = NULL;
  if (result != NULL) {
    napi_resolve_deferred(env, call->deferred, result);
  } else {
    napi_value message, error;
    if (napi_create_string_utf8(env, "SHA-256 was cancelled", NAPI_AUTO_LENGTH, &message) == napi_ok &&
        napi_create_error(env, NULL, message, &error) == napi_ok)
      napi_reject_deferred(env, call->deferred, error);
  }
  if (call->work != NULL) napi_delete_async_work(env, call->work);
  if (call->keeps_bytes != NULL) napi_delete_reference(env, call->keeps_bytes);
  free(call);
}

static bool read_bytes(napi_env env, napi_value value, uint8_t **bytes, size_t *length) {
  bool is_array = false;
  napi_typedarray_type type;
  return napi_is_typedarray(env, value, &is_array) == napi_ok && is_array &&
         napi_get_typedarray_info(env, value, &type, length, (void **)bytes, NULL, NULL) == napi_ok &&
         type == napi_uint8_array;
}

static bool queue(napi_env env, napi_value bytes, Call *call) {
  napi_value name;
  return napi_create_reference(env, bytes, 1, &call->keeps_bytes) == napi_ok &&
         napi_create_string_utf8(env, "layerd sha256", NAPI_AUTO_LENGTH, &name) == napi_ok &&
         napi_create_async_work(env, NULL, name, execute, complete, call, &call->work) == napi_ok &&
         napi_queue_async_work(env, call->work) == napi_ok;
}

/* Begins a call whose bytes and file are set. @returns the promise */
static napi_value begin(napi_env env, const Call *request, const uint8_t *state, napi_value bytes) {
  napi_value promise;
  Call *call = malloc(sizeof *call);
  if (call != NULL) *call = *request;
  if (call == NULL || napi_create_promise(env, &call->deferred, &promise) != napi_ok) {
    free(call);
    napi_throw_error(env, NULL, "no memory for SHA-256");
    return NULL;
  }
  for (int i = 0; i < STATE_BYTES; i++) call->context.h[i / 4] |= (uint32_t)state[i] << (24 - 8 * (i % 4));
  call->context.md_len = STATE_BYTES;
  if (call->file == NO_FILE && call->length <= INLINE_BYTES) {
    execute(env, call);
    complete(env, napi_ok, call);
  } else if (!queue(env, bytes, call)) {
    complete(env, napi_generic_failure, call);
  }
  return promise;
}

static napi_value advance(napi_env env, napi_callback_info info) {
  napi_value arguments[2];
  size_t count = 2, state_length, length;
  uint8_t *state, *bytes;
  if (napi_get_cb_info(env, info, &count, arguments, NULL, NULL) != napi_ok || count < 2 ||
      !read_bytes(env, arguments[0], &state, &state_length) || state_length != STATE_BYTES ||
      !read_bytes(env, arguments[1], &bytes, &length) || length % BLOCK_BYTES != 0) {
    napi_throw_type_error(env, NULL, "expected a state of 32 bytes and bytes in whole blocks");
    return NULL;
  }
  Call call = {.bytes = bytes, .length = length, .end = length, .file = NO_FILE};
  return begin(env, &call, state, arguments[1]);
}

static napi_value write_and_advance(napi_env env, napi_callback_info info) {
  napi_value arguments[6];
  size_t count = 6, state_length, length;
  uint8_t *state, *bytes;
  int64_t start, end, position;
  int32_t file;
  if (napi_get_cb_info(env, info, &count, arguments, NULL, NULL) != napi_ok || count < 6 ||
      !read_bytes(env, arguments[0], &state, &state_length) || state_length != STATE_BYTES ||
      !read_bytes(env, arguments[1], &bytes, &length) ||
      napi_get_value_int64(env, arguments[2], &start) != napi_ok || start < 0 ||
      napi_get_value_int64(env, arguments[3], &end) != napi_ok || end < start || (uint64_t)end > length ||
      (end - start) % BLOCK_BYTES != 0 || napi_get_value_int32(env, arguments[4], &file) != napi_ok || file < 0 ||
      napi_get_value_int64(env, arguments[5], &position) != napi_ok || position < 0) {
    napi_throw_type_error(env, NULL, "expected a state of 32 bytes, bytes, whole blocks of them, and a place in a file");
    return NULL;
  }
  Call call = {.bytes = bytes, .length = length, .file = file, .position = position};
  call.start = (size_t)start;
  call.end = (size_t)end;
  return begin(env, &call, state, arguments[1]);
}

static bool export_function(napi_env env, napi_value exports, const char *name, napi_callback callback) {
  napi_value function;
  return napi_create_function(env, name, NAPI_AUTO_LENGTH, callback, NULL, &function) == napi_ok &&
         napi_set_named_property(env, exports, name, function) == napi_ok;
}

NAPI_MODULE_INIT() {
  sha256_update = (Update)dlsym(RTLD_DEFAULT, "SHA256_Update");
  if (sha256_update == NULL) {
    napi_throw_error(env, NULL, "this Node.js does not export OpenSSL's SHA256_Update");
    return NULL;
  }
  if (!export_function(env, exports, "advance", advance) || !export_function(env, exports, "write", write_and_advance))
    return NULL;
  return exports;
}
