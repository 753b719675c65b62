/* What Sightline uses of components/esp_timer/include/esp_timer.h, declared by hand. Of espressif/esp-idf, v5.5.1. */
#pragma once

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif
int64_t esp_timer_get_time(void);
#ifdef __cplusplus
}
#endif
