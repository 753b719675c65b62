/* What Sightline uses of components/nvs_flash/include/nvs_flash.h, declared by hand. Of espressif/esp-idf, v5.5.1. */
#pragma once

#include "nvs.h"

#ifdef __cplusplus
extern "C" {
#endif
esp_err_t nvs_flash_init(void);
#ifdef __cplusplus
}
#endif
