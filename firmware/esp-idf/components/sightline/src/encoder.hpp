// The hardware's H.264 encoder, by esp_h264 itself: esp_video's encoder device has no way to ask for a key frame.
#ifndef SIGHTLINE_ENCODER_HPP
#define SIGHTLINE_ENCODER_HPP

#include "sightline.h"

#include "esp_h264_enc_param_hw.h"
#include "esp_h264_enc_single.h"

#include <cstddef>
#include <cstdint>

namespace sightline {

class Encoder {
public:
  Encoder() = default;
  Encoder(const Encoder &) = delete;
  Encoder &operator=(const Encoder &) = delete;
  ~Encoder() { close(); }

  // `settings`: size of what comes in, rates of what goes out. False: the hardware refuses; the log says why.
  bool open(const SightlineSettings &settings);
  bool is_open() const { return encoder_ != nullptr; }
  void close();

  // Other rates, while it runs; the size stays. The key-frame interval is of pictures, and counts from the next key frame.
  void set_rates(uint32_t bitrate_bps, uint32_t fps);
  // The next picture is a key frame, with its parameter sets before it.
  void force_keyframe();

  // Makes one access unit in Annex B of one picture; waits for the hardware, some milliseconds. 0: it failed, or there was no room.
  std::size_t encode(uint8_t *picture, std::size_t picture_bytes, uint8_t *out, std::size_t room_bytes);

private:
  esp_h264_enc_handle_t encoder_ = nullptr;
  esp_h264_enc_param_hw_handle_t parameters_ = nullptr;
};

} // namespace sightline

#endif
