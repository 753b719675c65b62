#include "card.h"

#include "driver/sdmmc_host.h"
#include "esp_log.h"
#include "esp_vfs_fat.h"
#include "sd_pwr_ctrl_by_on_chip_ldo.h"
#include "sdkconfig.h"
#include "sdmmc_cmd.h"

#include <errno.h>
#include <sys/stat.h>

static const char *const TAG = "sightline";

/* The recording's file, and what the application has open beside it. */
#define FILES_MAX 4

esp_err_t sightline_card_mount(void) {
  sdmmc_host_t host = SDMMC_HOST_DEFAULT();
  /* Slot 0 has the pins of the board's card; slot 1 is the radio's. */
  host.slot = SDMMC_HOST_SLOT_0;
  host.max_freq_khz = SDMMC_FREQ_HIGHSPEED;
#if CONFIG_SIGHTLINE_CARD_LDO_CHANNEL >= 0
  const sd_pwr_ctrl_ldo_config_t supply = {.ldo_chan_id = CONFIG_SIGHTLINE_CARD_LDO_CHANNEL};
  sd_pwr_ctrl_handle_t power = NULL;
  esp_err_t error = sd_pwr_ctrl_new_on_chip_ldo(&supply, &power);
  if (error != ESP_OK) {
    ESP_LOGE(TAG, "the SD card's supply, LDO channel %d, can't be had: %d", CONFIG_SIGHTLINE_CARD_LDO_CHANNEL, error);
    return error;
  }
  host.pwr_ctrl_handle = power;
#else
  esp_err_t error;
#endif
  sdmmc_slot_config_t slot = SDMMC_SLOT_CONFIG_DEFAULT();
  slot.width = CONFIG_SIGHTLINE_CARD_BUS_WIDTH;
  slot.flags |= SDMMC_SLOT_FLAG_INTERNAL_PULLUP;
  const esp_vfs_fat_mount_config_t mount = {.format_if_mount_failed = false, .max_files = FILES_MAX};
  sdmmc_card_t *card = NULL;
  error = esp_vfs_fat_sdmmc_mount(SIGHTLINE_CARD_PATH, &host, &slot, &mount, &card);
  if (error != ESP_OK) {
    ESP_LOGE(TAG, "no SD card with a FAT: %d; nothing is recorded", error);
    return error;
  }
  if (mkdir(SIGHTLINE_RECORDING_PATH, 0777) != 0 && errno != EEXIST) {
    ESP_LOGE(TAG, "%s can't be made: errno %d; nothing is recorded", SIGHTLINE_RECORDING_PATH, errno);
    return ESP_FAIL;
  }
  return ESP_OK;
}

uint64_t sightline_card_free_bytes(void) {
  uint64_t total_bytes = 0, free_bytes = 0;
  return esp_vfs_fat_info(SIGHTLINE_CARD_PATH, &total_bytes, &free_bytes) == ESP_OK ? free_bytes : 0;
}
