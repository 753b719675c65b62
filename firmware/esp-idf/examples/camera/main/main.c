/* A Sightline camera: network, time, then everything by one call. */
#include "network.h"
#include "sightline_camera.h"

#include "esp_event.h"
#include "esp_log.h"
#include "esp_netif.h"
#include "esp_netif_sntp.h"
#include "freertos/FreeRTOS.h"
#include "freertos/task.h"
#include "nvs_flash.h"
#include "sdkconfig.h"

static const char *const TAG = "example";

/* Without a time server the stream begins nevertheless: it is counted from the cloud's own clock. */
#define TIME_WAIT_MS 15000

/* While it waits for an address: it ends when app_main returns. */
static TaskHandle_t main_task;

static void on_address(void *argument, esp_event_base_t base, int32_t id, void *data) {
  (void)argument, (void)base, (void)data;
  if (id == IP_EVENT_ETH_GOT_IP || id == IP_EVENT_STA_GOT_IP) {
    ESP_LOGI(TAG, "the network gave an address");
    sightline_camera_on_network_up();
    if (main_task != NULL) {
      xTaskNotifyGive(main_task);
    }
  }
}

static void wait_for_time(void) {
  const esp_sntp_config_t config = ESP_NETIF_SNTP_DEFAULT_CONFIG(CONFIG_EXAMPLE_TIME_SERVER);
  if (esp_netif_sntp_init(&config) != ESP_OK || esp_netif_sntp_sync_wait(pdMS_TO_TICKS(TIME_WAIT_MS)) != ESP_OK) {
    ESP_LOGW(TAG, "%s did not tell the time: status messages carry a wrong one for now", CONFIG_EXAMPLE_TIME_SERVER);
  }
}

void app_main(void) {
  main_task = xTaskGetCurrentTaskHandle();
  /* Never erased here: the device's identity is in it. */
  if (nvs_flash_init() != ESP_OK) {
    ESP_LOGE(TAG, "NVS can't be read: write the device's identity again (README)");
    return;
  }
  SightlineCameraSettings settings;
  if (sightline_camera_settings(&settings) != ESP_OK) {
    return;
  }
  ESP_ERROR_CHECK(esp_netif_init());
  ESP_ERROR_CHECK(esp_event_loop_create_default());
  ESP_ERROR_CHECK(esp_event_handler_register(IP_EVENT, ESP_EVENT_ANY_ID, on_address, NULL));
  ESP_ERROR_CHECK(network_start());
  ulTaskNotifyTake(pdTRUE, portMAX_DELAY);
  main_task = NULL;
  wait_for_time();
  const esp_err_t error = sightline_camera_start(&settings);
  ESP_LOGI(TAG, "%s is %s", settings.device_id, error == ESP_OK ? "started" : esp_err_to_name(error));
}
