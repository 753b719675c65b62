/* The shape of a firmware in C99, without an operating system: the pusher lies in static memory, and what the board has is declared here. */
#include "sightline.h"

/* Of the board's support package. */
uint64_t board_clock_us(void *context);
int64_t board_wall_clock_us(void *context);
uint64_t board_random(void *context);
void board_socket_open(void *context, const char *host, uint16_t port, bool with_tls);
uint32_t board_socket_state(void *context);
ptrdiff_t board_socket_send(void *context, const uint8_t *bytes, size_t length);
ptrdiff_t board_socket_recv(void *context, uint8_t *bytes, size_t size);
void board_socket_close(void *context);
void board_release(void *context, void *token);
void board_encoder(void *context, uint32_t order, const SightlineSettings *settings);
bool board_publish(void *context, const char *topic, const uint8_t *payload, size_t length, bool retain);
/* An access unit of the encoder, if there is one. */
bool board_frame(uint8_t **data, size_t *length, int64_t *time_us, void **token);
void board_sleep_us(uint64_t wait_us);

typedef union Aligned {
  long long number;
  void *pointer;
} Aligned;

static union {
  uint8_t bytes[24 * 1024];
  Aligned alignment;
} memory;

int main(void) {
  SightlineConfig config;
  sightline_config_default(&config);
  config.device_id = "chip-1";
  config.trigger = SIGHTLINE_TRIGGER_ON_DEMAND;

  SightlinePlatform platform = {0};
  platform.struct_size = sizeof platform;
  platform.clock_us = board_clock_us;
  platform.wall_clock_us = board_wall_clock_us;
  platform.random = board_random;
  platform.socket_open = board_socket_open;
  platform.socket_state = board_socket_state;
  platform.socket_send = board_socket_send;
  platform.socket_recv = board_socket_recv;
  platform.socket_close = board_socket_close;
  platform.release = board_release;
  platform.encoder = board_encoder;
  platform.publish = board_publish;

  SightlinePusher *pusher = NULL;
  if (sightline_pusher_init(&memory, sizeof memory, &config, &platform, &pusher) != SIGHTLINE_ERROR_OK) {
    return 1;
  }
  sightline_pusher_start(pusher);
  for (;;) {
    uint8_t *data;
    size_t length;
    int64_t time_us;
    void *token;
    while (board_frame(&data, &length, &time_us, &token)) {
      if (sightline_pusher_push_frame(pusher, data, length, time_us, time_us, token) != SIGHTLINE_ERROR_OK) {
        board_release(NULL, token);
      }
    }
    uint64_t wait_us = 0;
    sightline_pusher_poll(pusher, &wait_us);
    board_sleep_us(wait_us);
  }
}
