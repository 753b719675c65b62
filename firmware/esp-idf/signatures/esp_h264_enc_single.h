/* What Sightline uses of esp_h264/interface/include/esp_h264_enc_single.h, declared by hand. Of espressif/esp-h264-component, 1.1.0, commit 84545cd. */
#pragma once

#include "esp_h264_types.h"

typedef struct esp_h264_enc_if *esp_h264_enc_handle_t;

#ifdef __cplusplus
extern "C" {
#endif
esp_h264_err_t esp_h264_enc_open(esp_h264_enc_handle_t enc);
esp_h264_err_t esp_h264_enc_process(esp_h264_enc_handle_t enc, esp_h264_enc_in_frame_t *in_frame, esp_h264_enc_out_frame_t *out_frame);
esp_h264_err_t esp_h264_enc_close(esp_h264_enc_handle_t enc);
esp_h264_err_t esp_h264_enc_del(esp_h264_enc_handle_t enc);
#ifdef __cplusplus
}
#endif
