/* What Sightline uses of components/esp_driver_sdmmc/include/driver/sdmmc_host.h, sdmmc_default_configs.h and components/sdmmc/include/sd_protocol_types.h, declared by hand. Of espressif/esp-idf, v5.5.1. */
#pragma once

#include "esp_err.h"

#include <stddef.h>
#include <stdint.h>

#define SDMMC_HOST_SLOT_0 0
#define SDMMC_FREQ_HIGHSPEED 40000
#define SDMMC_SLOT_FLAG_INTERNAL_PULLUP (1 << 0)

typedef struct sd_pwr_ctrl_drv_t *sd_pwr_ctrl_handle_t;
typedef struct sdmmc_card_t sdmmc_card_t;

/* Of the fields of both those that are used; the macros fill the others. */
typedef struct {
  uint32_t flags;
  int slot;
  int max_freq_khz;
  sd_pwr_ctrl_handle_t pwr_ctrl_handle;
} sdmmc_host_t;

typedef struct {
  uint8_t width;
  uint32_t flags;
} sdmmc_slot_config_t;

#define SDMMC_HOST_DEFAULT() {.flags = 0, .slot = 1, .max_freq_khz = 20000, .pwr_ctrl_handle = NULL}
#define SDMMC_SLOT_CONFIG_DEFAULT() {.width = 0, .flags = 0}
