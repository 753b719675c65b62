/* Wi-Fi by the board's ESP32-C6: esp_wifi_remote has the calls of ESP-IDF's own Wi-Fi. */
#include "network.h"

#include "esp_event.h"
#include "esp_log.h"
#include "esp_netif.h"
#include "esp_wifi.h"
#include "nvs.h"
#include "sdkconfig.h"
#include "sightline_camera.h"

#include <string.h>

static void handle_event(void *argument, esp_event_base_t base, int32_t id, void *data) {
  (void)argument, (void)base, (void)data;
  if (id == WIFI_EVENT_STA_START || id == WIFI_EVENT_STA_DISCONNECTED) {
    esp_wifi_connect();
  }
}

/* A string of NVS where it is there, otherwise that of menuconfig; cut at `size` bytes, and without a NUL there, as the driver has it. */
static void read_text(const char *name, const char *otherwise, uint8_t *text, size_t size) {
  char found[65] = "";
  size_t length = sizeof found;
  nvs_handle_t store = 0;
  bool is_there = false;
  if (nvs_open(SIGHTLINE_CAMERA_NVS, NVS_READONLY, &store) == ESP_OK) {
    is_there = nvs_get_str(store, name, found, &length) == ESP_OK;
    nvs_close(store);
  }
  const char *source = is_there ? found : otherwise;
  const size_t bytes = strlen(source) < size ? strlen(source) : size;
  memcpy(text, source, bytes);
}

esp_err_t network_start(void) {
  esp_netif_create_default_wifi_sta();
  const wifi_init_config_t init = WIFI_INIT_CONFIG_DEFAULT();
  esp_err_t error = esp_wifi_init(&init);
  if (error != ESP_OK) {
    ESP_LOGE("network", "the ESP32-C6 does not answer: is esp_hosted's firmware on it?");
    return error;
  }
  wifi_config_t config = {0};
  read_text("ssid", CONFIG_EXAMPLE_WIFI_SSID, config.sta.ssid, sizeof config.sta.ssid);
  read_text("password", CONFIG_EXAMPLE_WIFI_PASSWORD, config.sta.password, sizeof config.sta.password);
  error = esp_event_handler_register(WIFI_EVENT, ESP_EVENT_ANY_ID, handle_event, NULL);
  if (error == ESP_OK) {
    error = esp_wifi_set_mode(WIFI_MODE_STA);
  }
  if (error == ESP_OK) {
    error = esp_wifi_set_config(WIFI_IF_STA, &config);
  }
  return error == ESP_OK ? esp_wifi_start() : error;
}
