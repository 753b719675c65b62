/* What Sightline uses of esp_video/include/esp_video_init.h, declared by hand. Of espressif/esp-video-components, esp_video 2.4.1, commit 67a555a. */
#pragma once

#include "esp_err.h"

#include <stdbool.h>
#include <stdint.h>

#define ESP_VIDEO_INIT_FLAGS_MIPI_CSI (1 << 0)
#define ESP_VIDEO_INIT_FLAGS_ISP (1 << 3)

/* Of ESP-IDF's driver/gpio.h and driver/i2c_master.h: an enum and a pointer. */
typedef int gpio_num_t;
typedef struct i2c_master_bus_t *i2c_master_bus_handle_t;

typedef struct esp_video_init_sccb_config {
  bool init_sccb;
  union {
    struct {
      uint8_t port;
      gpio_num_t scl_pin;
      gpio_num_t sda_pin;
    } i2c_config;
    i2c_master_bus_handle_t i2c_handle;
  };
  uint32_t freq;
} esp_video_init_sccb_config_t;

typedef struct esp_video_init_csi_config {
  esp_video_init_sccb_config_t sccb_config;
  gpio_num_t reset_pin;
  gpio_num_t pwdn_pin;
  bool dont_init_ldo;
} esp_video_init_csi_config_t;

/* With MIPI-CSI alone. */
typedef struct esp_video_init_config {
  const esp_video_init_csi_config_t *csi;
} esp_video_init_config_t;

#ifdef __cplusplus
extern "C" {
#endif
esp_err_t esp_video_init_with_flags(const esp_video_init_config_t *config, uint32_t flags);
#ifdef __cplusplus
}
#endif
