/* What the image's Rust (src/c_calls.rs) is to its C: machine and network, in the form of sightline.h's table of functions where it has one. Both sides
 * declare it by hand. */
#ifndef BOARD_H
#define BOARD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What the camera starts with. */
typedef struct BoardStart {
  /* Given to each function. */
  void *context;
  /* rtmp://host:port/app, and the name to publish under. */
  const char *server_url;
  const char *stream_key;
  /* A SightlineQuality. */
  uint32_t quality;
  /* Streams for so long. */
  uint32_t seconds;
  /* `SLCLIP01`, the number of access units and the frames a second; then offset and length of each; then the units; little-endian. */
  const uint8_t *clip;
  size_t clip_bytes;
  /* Memory for the encoder's output buffers. */
  uint8_t *buffers;
  size_t buffers_bytes;
} BoardStart;

/* What it has seen. */
typedef struct BoardReport {
  /* In the calls of sightline.h, without the camera's own work in callbacks. */
  uint64_t face_instructions;
  uint32_t pusher_bytes;
  /* Buffers that were lent, those that the pusher refused, and pictures for which none was free. */
  uint32_t lent, refused, left_out;
  /* Those that came back; and what came back without being lent. */
  uint32_t returned, returned_wrongly;
  /* Calls of the table's other functions. */
  uint32_t states, streaming_states, orders, metrics, servers;
} BoardReport;

uint64_t board_clock_us(void *context);
int64_t board_wall_clock_us(void *context);
uint64_t board_random(void *context);
void board_socket_open(void *context, const char *host, uint16_t port, bool with_tls);
uint32_t board_socket_state(void *context);
ptrdiff_t board_socket_send(void *context, const uint8_t *bytes, size_t length);
ptrdiff_t board_socket_recv(void *context, uint8_t *bytes, size_t size);
void board_socket_close(void *context);
int64_t board_socket_unacknowledged(void *context);
void board_log(void *context, uint32_t level, const char *line);

bool board_network_is_up(void *context);
/* Moves frames of the network both ways. When it is to be called again by the clock, at the latest; what arrives before ends the sleep. */
uint64_t board_network_poll(void *context);
/* Sleeps until then, or until the card has something. */
void board_sleep_until_us(void *context, uint64_t at_us);
/* Instructions that the processor has retired. */
uint64_t board_instructions(void *context);
/* A line on the serial port. */
void board_say(void *context, const char *subject, const char *what, const char *detail);
void board_report(void *context, const BoardReport *report);

/* The camera's own: streams, reports, and gives the exit status. */
int camera_run(const BoardStart *start);

#endif
