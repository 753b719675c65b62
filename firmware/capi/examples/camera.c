/* A camera in C99: lends the frames of a clip to a pusher, in their own time.
 *
 *     camera CLIP rtmp://host[:port]/app NAME
 */
#define _POSIX_C_SOURCE 200809L
#include "clip.h"
#include "posix_platform.h"
#include "sightline.h"

#include <time.h>

typedef struct Camera {
  SightlinePosix posix; /* first: it is the context of the platform's functions */
  Clip clip;
  unsigned char *is_lent; /* of each unit */
  uint32_t released, released_twice, states, metrics, servers;
} Camera;

static void release(void *context, void *token) {
  Camera *camera = context;
  unsigned char *is_lent = token;
  camera->released += *is_lent;
  camera->released_twice += !*is_lent;
  *is_lent = 0;
}

static void on_state(void *context, const SightlineStateChange *change) {
  ((Camera *)context)->states++;
  printf("state: %s %s\n", change->state_name, change->error_code);
}

static void on_metrics(void *context, const SightlineMetrics *metrics) {
  ((Camera *)context)->metrics++;
  printf("%.1f fps, %.1f kbit/s, quality %.2f\n", (double)metrics->fps, (double)metrics->bitrate_kbps, (double)metrics->network_quality);
}

static void on_server(void *context, const SightlineServer *server, bool success) {
  ((Camera *)context)->servers++;
  printf("server: %s %s\n", success ? server->rtmp_url : "failed", server->error_code);
}

/* Until `until_us`, or for ever if the pusher ends before. */
static void work(SightlinePusher *pusher, const SightlinePlatform *platform, uint64_t until_us) {
  for (;;) {
    uint64_t wait_us = 0;
    const uint64_t now = platform->clock_us(platform->context);
    if (sightline_pusher_poll(pusher, &wait_us) != SIGHTLINE_ERROR_OK || wait_us == SIGHTLINE_NEVER || now >= until_us) {
      return;
    }
    if (wait_us > until_us - now) {
      wait_us = until_us - now;
    }
    if (wait_us > 0) {
      const struct timespec pause = {(time_t)(wait_us / 1000000), (long)(wait_us % 1000000) * 1000};
      nanosleep(&pause, NULL);
    }
  }
}

static int check(SightlineError error, const char *what) {
  if (error != SIGHTLINE_ERROR_OK) {
    fprintf(stderr, "%s: %s\n", what, sightline_error_name(error));
    exit(1);
  }
  return 0;
}

int main(int count, char **words) {
  if (count != 4 && count != 5) {
    fprintf(stderr, "camera CLIP rtmp://host[:port]/app NAME [FPS]\nCLIP: H.264 in Annex B, as `ffmpeg -i clip.mp4 -c:v libx264 -bf 0 -an clip.h264` makes it\n");
    return 2;
  }
  Camera camera = {.clip = clip_open(words[1])};
  if (count == 5 && atoi(words[4]) > 0) {
    camera.clip.fps = (uint32_t)atoi(words[4]);
  }
  camera.is_lent = calloc(camera.clip.units, 1);
  SightlinePlatform platform;
  sightline_posix_init(&camera.posix, &platform);
  platform.release = release;
  platform.on_state = on_state;
  platform.on_metrics = on_metrics;
  platform.on_server = on_server;

  SightlineConfig config;
  sightline_config_default(&config);
  config.device_id = "c-camera";
  config.trigger = SIGHTLINE_TRIGGER_MANUAL;
  config.rtmp_server_url = words[2];
  config.metrics_interval_sec = 1;

  /* malloc's memory is aligned for anything; on a chip it is a static array. */
  void *memory = malloc(sightline_pusher_size());
  SightlinePusher *pusher = NULL;
  check(sightline_pusher_init(memory, sightline_pusher_size(), &config, &platform, &pusher), "init");
  check(sightline_pusher_start(pusher), "start");
  check(sightline_pusher_start_stream(pusher, words[3]), "start_stream");
  while (!sightline_pusher_is_streaming(pusher)) {
    work(pusher, &platform, platform.clock_us(platform.context) + 10000);
  }
  const uint64_t began = platform.clock_us(platform.context);
  uint32_t refused = 0;
  for (uint32_t unit = 0; unit < camera.clip.units; unit++) {
    const int64_t time_us = (int64_t)unit * 1000000 / camera.clip.fps;
    work(pusher, &platform, began + (uint64_t)time_us);
    size_t length;
    uint8_t *bytes = clip_unit(&camera.clip, unit, &length);
    camera.is_lent[unit] = 1;
    refused += sightline_pusher_push_frame(pusher, bytes, length, time_us, time_us, &camera.is_lent[unit]) != SIGHTLINE_ERROR_OK;
  }
  SightlineStatus status;
  do {
    work(pusher, &platform, platform.clock_us(platform.context) + 10000);
    check(sightline_pusher_status(pusher, &status), "status");
  } while (status.lent_frames > 0);
  check(sightline_pusher_stop_stream(pusher), "stop_stream");
  check(sightline_pusher_stop(pusher), "stop");
  work(pusher, &platform, UINT64_MAX);
  check(sightline_pusher_deinit(pusher), "deinit");
  printf("report: {\"bytes\":%zu,\"pushed\":%u,\"refused\":%u,\"released\":%u,\"released_twice\":%u,\"states\":%u,\"metrics\":%u,\"servers\":%u}\n",
         sightline_pusher_size(), (unsigned)camera.clip.units, (unsigned)refused, (unsigned)camera.released,
         (unsigned)camera.released_twice, (unsigned)camera.states, (unsigned)camera.metrics, (unsigned)camera.servers);
  free(memory);
  free(camera.is_lent);
  free(camera.clip.bytes);
  return 0;
}
