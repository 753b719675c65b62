/* What Sightline uses of esp_h264/interface/include/esp_h264_types.h, declared by hand. Of espressif/esp-h264-component, 1.1.0, commit 84545cd. */
#pragma once

#include <stdint.h>

typedef enum { ESP_H264_ERR_OK = 0 } esp_h264_err_t;
/* The first two are the software's encoder's. */
typedef enum { ESP_H264_RAW_FMT_O_UYY_E_VYY = 2 } esp_h264_raw_format_t;
typedef enum { ESP_H264_FRAME_TYPE_IDR = 0 } esp_h264_frame_type_t;

typedef struct {
  uint8_t *buffer;
  uint32_t len;
} esp_h264_pkt_t;

typedef struct {
  uint16_t width;
  uint16_t height;
} esp_h264_resolution_t;

typedef struct {
  uint32_t bitrate;
  uint8_t qp_min;
  uint8_t qp_max;
} esp_h264_enc_rc_t;

typedef struct {
  esp_h264_raw_format_t pic_type;
  uint8_t gop;
  uint8_t fps;
  esp_h264_resolution_t res;
  esp_h264_enc_rc_t rc;
} esp_h264_enc_cfg_t;

typedef struct {
  esp_h264_frame_type_t frame_type;
  esp_h264_pkt_t raw_data;
  uint32_t length;
  uint32_t dts;
  uint32_t pts;
} esp_h264_enc_out_frame_t;

typedef struct {
  esp_h264_pkt_t raw_data;
  uint32_t pts;
} esp_h264_enc_in_frame_t;
