/* What Sightline uses of components/sdmmc/include/sd_pwr_ctrl_by_on_chip_ldo.h, declared by hand. Of espressif/esp-idf, v5.5.1. */
#pragma once

#include "driver/sdmmc_host.h"

typedef struct {
  int ldo_chan_id;
} sd_pwr_ctrl_ldo_config_t;

#ifdef __cplusplus
extern "C" {
#endif
esp_err_t sd_pwr_ctrl_new_on_chip_ldo(const sd_pwr_ctrl_ldo_config_t *configs, sd_pwr_ctrl_handle_t *ret_drv);
#ifdef __cplusplus
}
#endif
