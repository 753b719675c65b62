/* A Sightline camera on the ESP32-P4: sensor, hardware encoder, stream, cloud and SD card, by one call.
 *
 * Settings come from menuconfig (Sightline camera) and, before them, from NVS, so that one firmware is for a whole fleet. What each means says Kconfig. */
#ifndef SIGHTLINE_CAMERA_H
#define SIGHTLINE_CAMERA_H

#include "esp_err.h"
#include "sightline.h"

#include <stdbool.h>

#ifdef __cplusplus
extern "C" {
#endif

/* The namespace in NVS. Its strings: device_id, broker, server, stream_key; and in PEM ca, cert, key. Those that are not there are as menuconfig has them. */
#define SIGHTLINE_CAMERA_NVS "sightline"

/* All strings end with a NUL and must live for ever; null is the empty one. */
typedef struct SightlineCameraSettings {
  const char *device_id;   /* 1 to 64 of A-Z a-z 0-9 _ - */
  const char *broker_url;  /* mqtts://host[:port]; empty: no cloud, `server_url` must be set */
  const char *authority;   /* PEM; empty: the authorities of ESP-IDF's certificate bundle */
  const char *certificate; /* PEM, of the device; shown to the broker */
  const char *key;         /* PEM; a secret: never logged */
  const char *server_url;  /* rtmp(s)://host[:port]/app; empty: the cloud says where */
  const char *stream_key;  /* the name to publish under at `server_url`; empty: the device's id; a secret */
  SightlineQuality quality;
  SightlineTrigger trigger;
  bool with_tls;     /* ask the cloud for RTMP over TLS */
  bool is_recording; /* on the SD card, whatever the stream does */
} SightlineCameraSettings;

/* Settings of menuconfig and NVS (nvs_flash_init was called). ESP_ERR_INVALID_STATE: no device id, or neither a broker nor a server; the log says which. */
esp_err_t sightline_camera_settings(SightlineCameraSettings *settings);

/* Starts everything; once. The network must be up, and the clock set where TLS checks dates. ESP_ERR_INVALID_STATE: started already. ESP_ERR_NO_MEM: too little PSRAM for the
 * frames. ESP_ERR_INVALID_ARG: a setting is refused. ESP_FAIL: no sensor. The log says which, and the mend. */
esp_err_t sightline_camera_start(const SightlineCameraSettings *settings);

/* Something moves, now: to be called again while it does, by what sees it (a PIR sensor's pin, a radar). False where the trigger is not motion. */
bool sightline_camera_on_motion(void);

/* A window of the application's schedule begins or ends. False where the trigger is not scheduled. */
bool sightline_camera_on_schedule(bool is_open);

/* Begins and ends the stream by hand, as a command from the cloud does. */
bool sightline_camera_start_stream(void);
void sightline_camera_stop_stream(void);

/* The network is back (IP_EVENT_ETH_GOT_IP and its like): what waits is tried at once. */
void sightline_camera_on_network_up(void);

/* True while frames are taken by a server. */
bool sightline_camera_is_streaming(void);

#ifdef __cplusplus
}
#endif
#endif
