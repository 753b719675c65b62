#include "sensor.h"

#include "esp_video_init.h"
#include "sdkconfig.h"

/* What all sensors of Espressif's list take. */
#define SCCB_HZ 100000

esp_err_t sightline_sensor_start(void) {
  const esp_video_init_csi_config_t csi = {
      .sccb_config =
          {
              .init_sccb = true,
              .i2c_config =
                  {
                      .port = CONFIG_SIGHTLINE_SENSOR_I2C_PORT,
                      .scl_pin = CONFIG_SIGHTLINE_SENSOR_I2C_SCL_GPIO,
                      .sda_pin = CONFIG_SIGHTLINE_SENSOR_I2C_SDA_GPIO,
                  },
              .freq = SCCB_HZ,
          },
      .reset_pin = CONFIG_SIGHTLINE_SENSOR_RESET_GPIO,
      .pwdn_pin = CONFIG_SIGHTLINE_SENSOR_POWER_DOWN_GPIO,
  };
  const esp_video_init_config_t config = {.csi = &csi};
  /* Not its encoder: there is one in the chip, and this component has it. */
  return esp_video_init_with_flags(&config, ESP_VIDEO_INIT_FLAGS_MIPI_CSI | ESP_VIDEO_INIT_FLAGS_ISP);
}
