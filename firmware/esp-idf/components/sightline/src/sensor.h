/* The camera's sensor on MIPI-CSI. */
#ifndef SIGHTLINE_SENSOR_H
#define SIGHTLINE_SENSOR_H

#include "esp_err.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Finds the sensor and starts its drivers, with the image signal processor that makes YUV of its raw pictures. ESP_OK, or what esp_video says. */
esp_err_t sightline_sensor_start(void);

#ifdef __cplusplus
}
#endif
#endif
