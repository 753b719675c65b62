/* What Sightline uses of components/nvs_flash/include/nvs.h, declared by hand. Of espressif/esp-idf, v5.5.1. */
#pragma once

#include "esp_err.h"

#include <stddef.h>
#include <stdint.h>

typedef uint32_t nvs_handle_t;
typedef enum { NVS_READONLY, NVS_READWRITE } nvs_open_mode_t;

#ifdef __cplusplus
extern "C" {
#endif
esp_err_t nvs_open(const char *namespace_name, nvs_open_mode_t open_mode, nvs_handle_t *out_handle);
esp_err_t nvs_get_str(nvs_handle_t handle, const char *key, char *out_value, size_t *length);
void nvs_close(nvs_handle_t handle);
#ifdef __cplusplus
}
#endif
