/* What Sightline uses of components/fatfs/vfs/esp_vfs_fat.h, declared by hand. Of espressif/esp-idf, v5.5.1. */
#pragma once

#include "driver/sdmmc_host.h"

#include <stdbool.h>

typedef struct {
  bool format_if_mount_failed;
  int max_files;
  size_t allocation_unit_size;
  bool disk_status_check_enable;
  bool use_one_fat;
} esp_vfs_fat_mount_config_t;

#ifdef __cplusplus
extern "C" {
#endif
esp_err_t esp_vfs_fat_sdmmc_mount(const char *base_path, const sdmmc_host_t *host_config, const void *slot_config,
                                  const esp_vfs_fat_mount_config_t *mount_config, sdmmc_card_t **out_card);
esp_err_t esp_vfs_fat_info(const char *base_path, uint64_t *out_total_bytes, uint64_t *out_free_bytes);
#ifdef __cplusplus
}
#endif
