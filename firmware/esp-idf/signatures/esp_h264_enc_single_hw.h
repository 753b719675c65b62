/* What Sightline uses of esp_h264/hw/include/esp_h264_enc_single_hw.h, declared by hand. Of espressif/esp-h264-component, 1.1.0, commit 84545cd. */
#pragma once

#include "esp_h264_enc_param_hw.h"
#include "esp_h264_enc_single.h"

typedef esp_h264_enc_cfg_t esp_h264_enc_cfg_hw_t;

#ifdef __cplusplus
extern "C" {
#endif
esp_h264_err_t esp_h264_enc_hw_new(const esp_h264_enc_cfg_hw_t *cfg, esp_h264_enc_handle_t *out_enc);
esp_h264_err_t esp_h264_enc_hw_get_param_hd(esp_h264_enc_handle_t enc, esp_h264_enc_param_hw_handle_t *out_param);
#ifdef __cplusplus
}
#endif
