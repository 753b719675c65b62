// The camera's loop: pictures of the sensor become access units, which go to the recording and to the stream, each as it can take them.
#ifndef SIGHTLINE_CAMERA_HPP
#define SIGHTLINE_CAMERA_HPP

#include "capture.hpp"
#include "encoder.hpp"
#include "encoder_watch.hpp"
#include "frame_pool.hpp"
#include "mqtt.hpp"
#include "pacing.hpp"
#include "recorder.hpp"
#include "sightline_camera.h"
#include "stream_pusher.hpp"

#include <memory>
#include <mutex>
#include <thread>

namespace sightline {

class Camera {
public:
  Camera();

  esp_err_t start(const SightlineCameraSettings &settings);
  StreamPusher &pusher() { return pusher_; }

private:
  // What the stream wants of the encoder.
  struct Orders {
    SightlineSettings settings{};
    bool is_streaming = false;
    bool is_paused = false;
    bool is_keyframe_wanted = false;
  };

  bool start_stream(const SightlineCameraSettings &settings);
  bool reserve_frames();
  void start_recorder();
  void handle_order(SightlineOrder order, const SightlineSettings &settings);
  Orders take_orders();
  void work();
  void encode(const Picture &picture, const Orders &orders, uint64_t now_us);
  bool open_encoder(const Orders &orders, uint64_t now_us);
  void ask_for_keyframe(const Orders &orders, uint64_t now_us);
  bool make_unit(const Picture &picture, FrameSlot &slot);
  void hand_out(FrameSlot &slot, const Orders &orders);
  void stream(FrameSlot &slot);
  void judge(EncoderWatch::Verdict verdict, uint64_t now_us);
  void miss_all();

  SightlineSettings preset_{}; // with the sensor's size: for a recording without a stream
  Capture capture_;
  FramePool pool_;
  // Of the loop's thread alone.
  Encoder encoder_;
  EncoderWatch watch_;
  Pacing pacing_;
  GopGate stream_gate_;
  GopGate recording_gate_;
  SightlineSettings rates_{}; // the encoder's
  uint64_t not_before_us_ = 0;
  uint64_t forced_us_ = 0;

  std::mutex orders_mutex_;
  Orders orders_;

  std::unique_ptr<EspMqtt> mqtt_;
  std::unique_ptr<Recorder> recorder_;
  StreamPusher pusher_;
  std::thread thread_;
};

} // namespace sightline

#endif
