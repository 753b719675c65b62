/* What Sightline uses of esp_h264/interface/include/esp_h264_enc_param.h and esp_h264_enc_param_hw.h, declared by hand. Of espressif/esp-h264-component, 1.1.0, commit 84545cd; esp_h264_enc_force_idr is of 1.3.7, by its changelog and its users. */
#pragma once

#include "esp_h264_types.h"

typedef struct esp_h264_enc_param_if *esp_h264_enc_param_handle_t;
/* Its functions are not called by hand. */
typedef struct esp_h264_enc_param_if {
  void *functions;
} esp_h264_enc_param_t;

typedef struct esp_h264_enc_hw_param_if {
  esp_h264_enc_param_t base;
} esp_h264_enc_param_hw_t;
typedef struct esp_h264_enc_hw_param_if *esp_h264_enc_param_hw_handle_t;

#ifdef __cplusplus
extern "C" {
#endif
esp_h264_err_t esp_h264_enc_set_fps(esp_h264_enc_param_handle_t handle, uint8_t fps);
esp_h264_err_t esp_h264_enc_set_gop(esp_h264_enc_param_handle_t handle, uint8_t gop);
esp_h264_err_t esp_h264_enc_set_bitrate(esp_h264_enc_param_handle_t handle, uint32_t bitrate);
esp_h264_err_t esp_h264_enc_force_idr(esp_h264_enc_param_handle_t handle);
#ifdef __cplusplus
}
#endif
