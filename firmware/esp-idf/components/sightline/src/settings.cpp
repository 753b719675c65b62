// Settings of menuconfig, and of NVS before them.
#include "sightline_camera.h"

#include "esp_log.h"
#include "nvs.h"
#include "sdkconfig.h"

#include <cstddef>
#include <new>

namespace {

const char *const TAG = "sightline";

// A string of NVS, in memory that is never given back: settings live for ever. `otherwise` where it is not there.
const char *text(nvs_handle_t store, const char *name, const char *otherwise) {
  std::size_t size = 0;
  if (nvs_get_str(store, name, nullptr, &size) != ESP_OK || size <= 1) {
    return otherwise;
  }
  char *memory = new (std::nothrow) char[size];
  return memory != nullptr && nvs_get_str(store, name, memory, &size) == ESP_OK ? memory : otherwise;
}

bool is_empty(const char *string) { return string == nullptr || string[0] == '\0'; }

} // namespace

extern "C" esp_err_t sightline_camera_settings(SightlineCameraSettings *settings) {
  *settings = SightlineCameraSettings{};
  settings->device_id = CONFIG_SIGHTLINE_DEVICE_ID;
  settings->broker_url = CONFIG_SIGHTLINE_BROKER_URL;
  settings->server_url = CONFIG_SIGHTLINE_SERVER_URL;
  settings->quality = static_cast<SightlineQuality>(CONFIG_SIGHTLINE_QUALITY);
  settings->trigger = static_cast<SightlineTrigger>(CONFIG_SIGHTLINE_TRIGGER);
#if CONFIG_SIGHTLINE_TLS
  settings->with_tls = true;
#endif
#if CONFIG_SIGHTLINE_RECORDING
  settings->is_recording = true;
#endif
  nvs_handle_t store = 0;
  if (nvs_open(SIGHTLINE_CAMERA_NVS, NVS_READONLY, &store) == ESP_OK) {
    settings->device_id = text(store, "device_id", settings->device_id);
    settings->broker_url = text(store, "broker", settings->broker_url);
    settings->server_url = text(store, "server", settings->server_url);
    settings->stream_key = text(store, "stream_key", nullptr);
    settings->authority = text(store, "ca", nullptr);
    settings->certificate = text(store, "cert", nullptr);
    settings->key = text(store, "key", nullptr);
    nvs_close(store);
  }
  if (is_empty(settings->device_id)) {
    ESP_LOGE(TAG, "the device has no id: set device_id in NVS (README, \"The device's identity\") or SIGHTLINE_DEVICE_ID in menuconfig");
    return ESP_ERR_INVALID_STATE;
  }
  if (is_empty(settings->broker_url) && is_empty(settings->server_url)) {
    ESP_LOGE(TAG, "neither a broker nor a server: set broker in NVS, or SIGHTLINE_BROKER_URL or SIGHTLINE_SERVER_URL in menuconfig");
    return ESP_ERR_INVALID_STATE;
  }
  return ESP_OK;
}
