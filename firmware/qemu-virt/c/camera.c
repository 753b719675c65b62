/* A firmware in C99 on RV32IMAFC: a clip plays the encoder, and sightline.h does the rest. What it claims is counted here, in C: each lent buffer comes back
 * once, and the table's functions are called. */
#include "board.h"
#include "sightline.h"

/* The pusher keeps sixteen frames waiting at most; one is on its way, and one is being written. */
#define BUFFERS 18
/* For what was sent last to arrive. */
#define GOODBYE_US 3000000
/* What a free buffer is full of: a byte that is read after its buffer went back arrives as another one. */
#define SCRIBBLE 0xee
/* Types of NAL units that hold a picture. */
#define NAL_SLICE 1
#define NAL_IDR 5

/* An output buffer of the encoder: its address is its token. */
typedef struct Buffer {
  uint8_t *bytes;
  bool is_lent;
} Buffer;

typedef struct Camera {
  void *board;
  SightlinePusher *pusher;
  const uint8_t *clip;
  uint32_t units, unit;
  uint64_t frame_us, due_us;
  bool is_started, is_paused;
  Buffer buffers[BUFFERS];
  size_t buffer_bytes;
  /* Instructions of the camera's own, in callbacks, since the pusher was called. */
  uint64_t own_instructions;
  BoardReport report;
} Camera;

static Camera camera;

/* 24 KiB are enough for every version; how many are used, sightline_pusher_size says. */
static union {
  uint8_t bytes[24 * 1024];
  long long number;
  void *pointer;
} memory;

static uint32_t clip_number(const uint8_t *clip, size_t at) {
  uint32_t number;
  __builtin_memcpy(&number, clip + at, sizeof number);
  return number;
}

static const uint8_t *clip_unit(uint32_t unit, size_t *length) {
  const size_t entry = 16 + 8 * (size_t)unit;
  *length = clip_number(camera.clip, entry + 4);
  return camera.clip + 16 + 8 * (size_t)camera.units + clip_number(camera.clip, entry);
}

/* By the type of its first picture. */
static bool is_keyframe(uint32_t unit) {
  size_t length;
  const uint8_t *bytes = clip_unit(unit, &length);
  for (size_t at = 0; at + 3 < length; at++) {
    const bool is_start = bytes[at] == 0 && bytes[at + 1] == 0 && bytes[at + 2] == 1;
    const int type = bytes[at + 3] & 0x1f;
    if (is_start && (type == NAL_IDR || type == NAL_SLICE)) {
      return type == NAL_IDR;
    }
  }
  return false;
}

static void release(void *context, void *token) {
  const uint64_t began = board_instructions(context);
  Buffer *buffer = token;
  if (buffer >= camera.buffers && buffer < camera.buffers + BUFFERS && buffer->is_lent) {
    buffer->is_lent = false;
    __builtin_memset(buffer->bytes, SCRIBBLE, camera.buffer_bytes);
    camera.report.returned++;
  } else {
    camera.report.returned_wrongly++;
  }
  camera.own_instructions += board_instructions(context) - began;
}

/* A clip can't follow a bit rate; a key frame is its next one. */
static void encoder(void *context, uint32_t order, const SightlineSettings *settings) {
  (void)settings;
  const uint64_t began = board_instructions(context);
  camera.report.orders++;
  switch (order) {
    case SIGHTLINE_ORDER_START:
      camera.due_us = board_clock_us(context);
      camera.is_started = true;
      camera.is_paused = false;
      /* fall through */
    case SIGHTLINE_ORDER_KEYFRAME:
      for (uint32_t tried = 0; tried < camera.units && !is_keyframe(camera.unit); tried++) {
        camera.unit = (camera.unit + 1) % camera.units;
      }
      break;
    case SIGHTLINE_ORDER_PAUSE:
      camera.is_paused = true;
      break;
    case SIGHTLINE_ORDER_RESUME:
      camera.is_paused = false;
      camera.due_us = board_clock_us(context);
      break;
    case SIGHTLINE_ORDER_STOP:
      camera.is_started = false;
      break;
    default:
      break;
  }
  camera.own_instructions += board_instructions(context) - began;
}

static void on_state(void *context, const SightlineStateChange *change) {
  const uint64_t began = board_instructions(context);
  camera.report.states++;
  camera.report.streaming_states += change->state == SIGHTLINE_STATE_STREAMING;
  board_say(context, "state", change->state_name, change->error_code);
  camera.own_instructions += board_instructions(context) - began;
}

static void on_metrics(void *context, const SightlineMetrics *metrics) {
  (void)context;
  camera.report.metrics += metrics->total_frames > 0;
}

static void on_server(void *context, const SightlineServer *server, bool success) {
  const uint64_t began = board_instructions(context);
  camera.report.servers += success;
  board_say(context, "server", server->rtmp_url, server->error_code);
  camera.own_instructions += board_instructions(context) - began;
}

/* Around a call that is counted. */
static uint64_t begin(void) {
  camera.own_instructions = 0;
  return board_instructions(camera.board);
}

static void count(uint64_t began) {
  camera.report.face_instructions += board_instructions(camera.board) - began - camera.own_instructions;
}

static bool is_done(SightlineError error, const char *what) {
  if (error != SIGHTLINE_ERROR_OK) {
    board_say(camera.board, "error", what, sightline_error_name(error));
  }
  return error == SIGHTLINE_ERROR_OK;
}

static Buffer *free_buffer(void) {
  for (size_t at = 0; at < BUFFERS; at++) {
    if (!camera.buffers[at].is_lent) {
      return &camera.buffers[at];
    }
  }
  return NULL;
}

/* The next picture: written into a buffer, which is lent. */
static void encode(void) {
  size_t length;
  const uint8_t *unit = clip_unit(camera.unit, &length);
  Buffer *buffer = free_buffer();
  const int64_t time_us = (int64_t)camera.due_us;
  camera.due_us += camera.frame_us;
  if (buffer == NULL || length > camera.buffer_bytes) {
    camera.report.left_out++;
    return;
  }
  camera.unit = (camera.unit + 1) % camera.units;
  __builtin_memcpy(buffer->bytes, unit, length);
  buffer->is_lent = true;
  camera.report.lent++;
  const uint64_t began = begin();
  const SightlineError error = sightline_pusher_push_frame(camera.pusher, buffer->bytes, length, time_us, time_us, buffer);
  count(began);
  if (!is_done(error, "push_frame")) {
    buffer->is_lent = false;
    camera.report.refused++;
  }
}

/* Once round, and sleep until something is due. False: the pusher waits for nothing, or refuses. */
static bool turn(void) {
  board_network_poll(camera.board);
  const bool makes_pictures = camera.is_started && !camera.is_paused;
  if (makes_pictures && board_clock_us(camera.board) >= camera.due_us) {
    encode();
  }
  uint64_t wait_us = 0;
  const uint64_t began = begin();
  const SightlineError error = sightline_pusher_poll(camera.pusher, &wait_us);
  count(began);
  if (!is_done(error, "poll") || wait_us == SIGHTLINE_NEVER) {
    return false;
  }
  const uint64_t now = board_clock_us(camera.board);
  uint64_t until = board_network_poll(camera.board);
  if (now + wait_us < until) {
    until = now + wait_us;
  }
  /* An order may have come in this turn. */
  if (camera.is_started && !camera.is_paused && camera.due_us < until) {
    until = camera.due_us;
  }
  if (until > now) {
    board_sleep_until_us(camera.board, until);
  }
  return true;
}

static bool load(const BoardStart *start) {
  camera.board = start->context;
  camera.clip = start->clip;
  if (start->clip_bytes < 16 || __builtin_memcmp(start->clip, "SLCLIP01", 8) != 0) {
    return false;
  }
  camera.units = clip_number(start->clip, 8);
  const uint32_t fps = clip_number(start->clip, 12);
  if (camera.units == 0 || fps == 0) {
    return false;
  }
  camera.frame_us = 1000000 / fps;
  camera.buffer_bytes = start->buffers_bytes / BUFFERS;
  for (size_t at = 0; at < BUFFERS; at++) {
    camera.buffers[at].bytes = start->buffers + at * camera.buffer_bytes;
  }
  return true;
}

static bool make_pusher(const BoardStart *start) {
  SightlineConfig config;
  sightline_config_default(&config);
  config.device_id = "c-camera";
  config.quality = start->quality;
  config.trigger = SIGHTLINE_TRIGGER_MANUAL;
  config.rtmp_server_url = start->server_url;
  config.stream_key = start->stream_key;
  config.metrics_interval_sec = 1;

  SightlinePlatform platform = {0};
  platform.struct_size = sizeof platform;
  platform.context = start->context;
  platform.clock_us = board_clock_us;
  platform.wall_clock_us = board_wall_clock_us;
  platform.random = board_random;
  platform.socket_open = board_socket_open;
  platform.socket_state = board_socket_state;
  platform.socket_send = board_socket_send;
  platform.socket_recv = board_socket_recv;
  platform.socket_close = board_socket_close;
  platform.socket_unacknowledged = board_socket_unacknowledged;
  platform.log = board_log;
  platform.release = release;
  platform.encoder = encoder;
  platform.on_state = on_state;
  platform.on_metrics = on_metrics;
  platform.on_server = on_server;

  camera.report.pusher_bytes = (uint32_t)sightline_pusher_size();
  return is_done(sightline_pusher_init(&memory, sizeof memory, &config, &platform, &camera.pusher), "init");
}

/* Until the pictures are out, and the goodbyes are said. */
static bool finish(void) {
  SightlineStatus status;
  camera.is_started = false;
  do {
    if (!turn() || !is_done(sightline_pusher_status(camera.pusher, &status), "status")) {
      return false;
    }
  } while (status.lent_frames > 0);
  if (!is_done(sightline_pusher_stop(camera.pusher), "stop")) {
    return false;
  }
  while (turn()) {
  }
  return is_done(sightline_pusher_deinit(camera.pusher), "deinit");
}

int camera_run(const BoardStart *start) {
  if (!load(start)) {
    board_say(start->context, "error", "no clip", "");
    return 1;
  }
  while (!board_network_is_up(camera.board)) {
    board_sleep_until_us(camera.board, board_network_poll(camera.board));
  }
  if (!make_pusher(start) || !is_done(sightline_pusher_start(camera.pusher), "start") ||
      !is_done(sightline_pusher_start_stream(camera.pusher, NULL), "start_stream")) {
    return 1;
  }
  const uint64_t ends_at = board_clock_us(camera.board) + (uint64_t)start->seconds * 1000000;
  while (board_clock_us(camera.board) < ends_at) {
    if (!turn()) {
      return 1;
    }
  }
  if (!finish()) {
    return 1;
  }
  const uint64_t gives_up_at = board_clock_us(camera.board) + GOODBYE_US;
  while (board_socket_unacknowledged(camera.board) > 0 && board_clock_us(camera.board) < gives_up_at) {
    board_sleep_until_us(camera.board, board_network_poll(camera.board));
  }
  board_report(camera.board, &camera.report);
  return 0;
}
