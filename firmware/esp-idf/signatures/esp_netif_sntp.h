/* What Sightline uses of components/esp_netif/include/esp_netif_sntp.h, declared by hand. Of espressif/esp-idf, v5.5.1. */
#pragma once

#include "esp_err.h"
#include "freertos/FreeRTOS.h"

/* Its fields are filled by the macro. */
typedef struct esp_sntp_config {
  const char *servers[1];
} esp_sntp_config_t;
#define ESP_NETIF_SNTP_DEFAULT_CONFIG(server) {.servers = {server}}

#ifdef __cplusplus
extern "C" {
#endif
esp_err_t esp_netif_sntp_init(const esp_sntp_config_t *config);
esp_err_t esp_netif_sntp_sync_wait(TickType_t tout);
#ifdef __cplusplus
}
#endif
