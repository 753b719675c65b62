/* What Sightline uses of components/esp_event/include/esp_event.h, declared by hand. Of espressif/esp-idf, v5.5.1. */
#pragma once

#include "esp_err.h"

#include <stdint.h>

typedef const char *esp_event_base_t;
typedef void (*esp_event_handler_t)(void *event_handler_arg, esp_event_base_t event_base, int32_t event_id, void *event_data);

#ifdef __cplusplus
extern "C" {
#endif
esp_err_t esp_event_loop_create_default(void);
esp_err_t esp_event_handler_register(esp_event_base_t event_base, int32_t event_id, esp_event_handler_t event_handler, void *event_handler_arg);
#ifdef __cplusplus
}
#endif
