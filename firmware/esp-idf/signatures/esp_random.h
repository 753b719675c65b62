/* What Sightline uses of components/esp_hw_support/include/esp_random.h, declared by hand. Of espressif/esp-idf, v5.5.1. */
#pragma once

#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif
void esp_fill_random(void *buf, size_t len);
#ifdef __cplusplus
}
#endif
