#include "encoder.hpp"

#include "esp_h264_enc_single_hw.h"
#include "esp_log.h"

#include <algorithm>

namespace sightline {

namespace {

const char *const TAG = "sightline";
// Finer than this a picture gets no better that anyone sees, and a still scene takes the whole rate.
constexpr uint8_t QP_MIN = 20;
// The coarsest that H.264 has: what keeps the rate on a link that has become slow. esp_video's default is 26.
constexpr uint8_t QP_MAX = 51;
// The specification's default, as in the Linux agent.
constexpr uint32_t KEYFRAME_INTERVAL_SEC = 2;
// esp_h264 holds both in eight bits.
constexpr uint32_t EIGHT_BITS_MAX = 255;

uint8_t eight_bits(uint32_t number) { return static_cast<uint8_t>(std::clamp<uint32_t>(number, 1, EIGHT_BITS_MAX)); }

} // namespace

bool Encoder::open(const SightlineSettings &settings) {
  close();
  esp_h264_enc_cfg_hw_t config = {};
  // What the image signal processor gives as YUV 4:2:0.
  config.pic_type = ESP_H264_RAW_FMT_O_UYY_E_VYY;
  config.fps = eight_bits(settings.fps);
  config.gop = eight_bits(settings.fps * KEYFRAME_INTERVAL_SEC);
  config.res.width = static_cast<uint16_t>(settings.width);
  config.res.height = static_cast<uint16_t>(settings.height);
  config.rc.bitrate = settings.bitrate_bps;
  config.rc.qp_min = QP_MIN;
  config.rc.qp_max = QP_MAX;
  esp_h264_err_t error = esp_h264_enc_hw_new(&config, &encoder_);
  if (error == ESP_H264_ERR_OK) {
    error = esp_h264_enc_hw_get_param_hd(encoder_, &parameters_);
  }
  if (error == ESP_H264_ERR_OK) {
    error = esp_h264_enc_open(encoder_);
  }
  if (error != ESP_H264_ERR_OK) {
    ESP_LOGE(TAG, "the encoder refuses %ux%u (esp_h264 %d): it takes 80x80 to 1920x2032, and some 140 KB of internal memory", static_cast<unsigned>(settings.width),
             static_cast<unsigned>(settings.height), static_cast<int>(error));
    close();
  }
  return is_open();
}

void Encoder::close() {
  if (encoder_ != nullptr) {
    esp_h264_enc_close(encoder_);
    esp_h264_enc_del(encoder_);
  }
  encoder_ = nullptr;
  parameters_ = nullptr;
}

void Encoder::set_rates(uint32_t bitrate_bps, uint32_t fps) {
  if (parameters_ == nullptr) {
    return;
  }
  esp_h264_enc_set_bitrate(&parameters_->base, bitrate_bps);
  esp_h264_enc_set_fps(&parameters_->base, eight_bits(fps));
  esp_h264_enc_set_gop(&parameters_->base, eight_bits(fps * KEYFRAME_INTERVAL_SEC));
}

void Encoder::force_keyframe() {
  if (parameters_ != nullptr) {
    esp_h264_enc_force_idr(&parameters_->base);
  }
}

std::size_t Encoder::encode(uint8_t *picture, std::size_t picture_bytes, uint8_t *out, std::size_t room_bytes) {
  if (encoder_ == nullptr) {
    return 0;
  }
  esp_h264_enc_in_frame_t in = {};
  in.raw_data.buffer = picture;
  in.raw_data.len = static_cast<uint32_t>(picture_bytes);
  esp_h264_enc_out_frame_t made = {};
  made.raw_data.buffer = out;
  made.raw_data.len = static_cast<uint32_t>(room_bytes);
  const esp_h264_err_t error = esp_h264_enc_process(encoder_, &in, &made);
  if (error != ESP_H264_ERR_OK || made.length > room_bytes) {
    ESP_LOGW(TAG, "a picture was not encoded: esp_h264 %d, room for %u bytes", static_cast<int>(error), static_cast<unsigned>(room_bytes));
    return 0;
  }
  return made.length;
}

} // namespace sightline
