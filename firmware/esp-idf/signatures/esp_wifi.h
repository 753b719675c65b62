/* What Sightline uses of components/esp_wifi/include/esp_wifi.h and esp_wifi_types_generic.h, whose calls esp_wifi_remote has, declared by hand. Of espressif/esp-idf, v5.5.1. */
#pragma once

#include "esp_err.h"
#include "esp_event.h"

#include <stdint.h>

typedef enum { WIFI_MODE_STA = 1 } wifi_mode_t;
typedef enum { WIFI_IF_STA = 0 } wifi_interface_t;
typedef enum { WIFI_EVENT_STA_START = 2, WIFI_EVENT_STA_DISCONNECTED = 5 } wifi_event_t;

/* Its fields are filled by the macro. */
typedef struct {
  int magic;
} wifi_init_config_t;
#define WIFI_INIT_CONFIG_DEFAULT() {.magic = 0}

/* Of its fields those that are used. */
typedef union {
  struct {
    uint8_t ssid[32];
    uint8_t password[64];
  } sta;
} wifi_config_t;

#ifdef __cplusplus
extern "C" {
#endif
extern esp_event_base_t const WIFI_EVENT;
esp_err_t esp_wifi_init(const wifi_init_config_t *config);
esp_err_t esp_wifi_set_mode(wifi_mode_t mode);
esp_err_t esp_wifi_set_config(wifi_interface_t interface, wifi_config_t *conf);
esp_err_t esp_wifi_start(void);
esp_err_t esp_wifi_connect(void);
#ifdef __cplusplus
}
#endif
