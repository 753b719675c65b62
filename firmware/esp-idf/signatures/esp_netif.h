/* What Sightline uses of components/esp_netif/include/esp_netif.h, esp_netif_types.h, esp_netif_defaults.h and components/esp_wifi/include/esp_wifi_default.h, declared by hand. Of espressif/esp-idf, v5.5.1. */
#pragma once

#include "esp_err.h"
#include "esp_event.h"

#define ESP_EVENT_ANY_ID -1

typedef struct esp_netif_obj esp_netif_t;
typedef void *esp_netif_iodriver_handle;

/* Its fields are filled by the macro. */
typedef struct esp_netif_config {
  const void *base;
  const void *driver;
  const void *stack;
} esp_netif_config_t;

#define ESP_NETIF_DEFAULT_ETH() {.base = NULL, .driver = NULL, .stack = NULL}

typedef enum { IP_EVENT_STA_GOT_IP = 0, IP_EVENT_ETH_GOT_IP = 4 } ip_event_t;

#ifdef __cplusplus
extern "C" {
#endif
extern esp_event_base_t const IP_EVENT;
esp_err_t esp_netif_init(void);
esp_netif_t *esp_netif_new(const esp_netif_config_t *esp_netif_config);
esp_err_t esp_netif_attach(esp_netif_t *esp_netif, esp_netif_iodriver_handle driver_handle);
esp_netif_t *esp_netif_create_default_wifi_sta(void);
#ifdef __cplusplus
}
#endif
