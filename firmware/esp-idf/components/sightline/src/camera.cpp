#include "camera.hpp"

#include "board.hpp"
#include "card.h"
#include "credentials.hpp"
#include "sensor.h"
#include "thread.hpp"

#include "esp_heap_caps.h"
#include "esp_log.h"
#include "sdkconfig.h"

#include <algorithm>
#include <cinttypes>
#include <new>

namespace sightline {

namespace {

const char *const TAG = "sightline";
// The chip's cache line of PSRAM: esp_h264 from 1.5.0 on refuses other buffers, and before it invalidates what lies beside them.
constexpr std::size_t FRAME_ALIGNMENT = 128;
// More than the pusher holds: sixteen in its queue, two in its session.
constexpr std::size_t STREAM_SLOTS = 20;
// One is being filled.
constexpr std::size_t SLOTS = STREAM_SLOTS + Recorder::QUEUE_MAX + 1;
// Bits a pixel that a key frame may have at most: at `ultra` one has half of that.
constexpr std::size_t PIXELS_A_BYTE = 8;
constexpr std::size_t SLOT_BYTES_MIN = 64 * 1024;
// Longer without a picture than any sensor's slowest rate: it has stopped.
constexpr uint64_t SENSOR_STALL_US = 3000000;
// Key frames that nobody ordered, after a gap: more often they would take the rate of all others.
constexpr uint64_t FORCED_EVERY_US = 1000000;
// Before an abandoned encoder is tried again for a recording.
constexpr uint64_t GIVEN_UP_US = 10000000;

// The specification's presets.
constexpr SightlineSettings PRESETS[] = {
    {640, 480, 15, 500000},
    {1280, 720, 20, 1000000},
    {1920, 1080, 25, 2000000},
    {1920, 1080, 30, 4000000},
};

void *allocate(std::size_t bytes) { return heap_caps_aligned_alloc(FRAME_ALIGNMENT, bytes, MALLOC_CAP_SPIRAM); }

std::string text(const char *string) { return string == nullptr ? std::string() : std::string(string); }

} // namespace

Credentials &credentials() {
  static Credentials all = {};
  return all;
}

Camera::Camera() : pool_(allocate, heap_caps_free) {}

esp_err_t Camera::start(const SightlineCameraSettings &settings) {
  if (thread_.joinable()) {
    return ESP_ERR_INVALID_STATE;
  }
  if (settings.quality > SIGHTLINE_QUALITY_ULTRA) {
    ESP_LOGE(TAG, "the quality must be a preset: the size is the sensor's, the rates follow by command");
    return ESP_ERR_INVALID_ARG;
  }
  credentials() = Credentials{settings.authority, settings.certificate, settings.key};
  if (sightline_sensor_start() != ESP_OK || !capture_.open()) {
    ESP_LOGE(TAG, "no picture: is the camera's cable in, and its sensor chosen in menuconfig?");
    return ESP_FAIL;
  }
  preset_ = PRESETS[settings.quality];
  if (preset_.width != capture_.width() || preset_.height != capture_.height()) {
    ESP_LOGW(TAG, "the sensor gives %" PRIu32 "x%" PRIu32 ", the preset is %" PRIu32 "x%" PRIu32 ": streamed as the sensor gives it; its format is chosen in menuconfig",
             capture_.width(), capture_.height(), preset_.width, preset_.height);
  }
  if (!reserve_frames()) {
    ESP_LOGE(TAG, "too little PSRAM for the frames: CONFIG_SPIRAM, or a smaller sensor format");
    return ESP_ERR_NO_MEM;
  }
  if (settings.is_recording) {
    start_recorder();
  }
  if (!start_stream(settings)) {
    ESP_LOGE(TAG, "the stream's settings are refused: %s", sightline_error_name(pusher_.lastError()));
    return ESP_ERR_INVALID_ARG;
  }
  // Above the pusher: the sensor does not wait.
  shape_next_thread(ThreadShape{"sl_camera", CONFIG_SIGHTLINE_CAMERA_STACK, CONFIG_SIGHTLINE_PUSHER_PRIORITY + 1, -1});
  thread_ = std::thread([this] { work(); });
  return ESP_OK;
}

bool Camera::reserve_frames() {
  const std::size_t pixels = std::size_t{capture_.width()} * capture_.height();
  const std::size_t bytes = std::max(SLOT_BYTES_MIN, pixels / PIXELS_A_BYTE);
  return pool_.reserve(SLOTS, (bytes + FRAME_ALIGNMENT - 1) / FRAME_ALIGNMENT * FRAME_ALIGNMENT);
}

// A camera without its card still streams.
void Camera::start_recorder() {
  if (sightline_card_mount() != ESP_OK) {
    return;
  }
  RecordingSettings recording;
  recording.directory = SIGHTLINE_RECORDING_PATH;
  recording.file_sec = CONFIG_SIGHTLINE_RECORDING_FILE_MIN * 60;
  recording.sync_sec = CONFIG_SIGHTLINE_RECORDING_SYNC_SEC;
  recording.free_bytes_min = uint64_t{CONFIG_SIGHTLINE_RECORDING_FREE_MB} * 1024 * 1024;
  recording.free_bytes = sightline_card_free_bytes;
  recorder_.reset(new (std::nothrow) Recorder(recording));
  if (recorder_ != nullptr) {
    recorder_->start();
  }
}

bool Camera::start_stream(const SightlineCameraSettings &settings) {
  preset_.width = capture_.width();
  preset_.height = capture_.height();
  StreamPusher::StreamConfig stream;
  const SightlineSettings &wanted = PRESETS[settings.quality];
  const bool is_preset = wanted.width == preset_.width && wanted.height == preset_.height;
  stream.quality = is_preset ? static_cast<StreamPusher::StreamQuality>(settings.quality) : StreamPusher::StreamQuality::CUSTOM;
  stream.custom = preset_;
  stream.trigger = static_cast<StreamPusher::StreamTrigger>(settings.trigger);
  stream.device_id = text(settings.device_id);
  stream.rtmp_server_url = text(settings.server_url);
  stream.stream_key = text(settings.stream_key);
  stream.secure = settings.with_tls;
  stream.format = SIGHTLINE_FORMAT_AVCC;
  pusher_.setStateCallback([](StreamPusher::StreamState, const std::string &message) { ESP_LOGI(TAG, "%s", message.c_str()); });
  pusher_.setMetricsCallback([](const StreamPusher::StreamMetrics &metrics) {
    ESP_LOGI(TAG, "%.1f fps, %.0f kbit/s, %" PRIu32 " left out, %" PRIu32 " ms, network %.2f", static_cast<double>(metrics.current_fps),
             static_cast<double>(metrics.current_bitrate_kbps), metrics.dropped_frames, metrics.latency_ms, static_cast<double>(metrics.network_quality));
  });
  pusher_.setEncoderCallback([this](SightlineOrder order, const SightlineSettings &ordered) { handle_order(order, ordered); });
  pusher_.setReleaseCallback([](void *token) { static_cast<FrameSlot *>(token)->release(); });
  if (settings.broker_url != nullptr && settings.broker_url[0] != '\0') {
    mqtt_.reset(new (std::nothrow) EspMqtt(text(settings.device_id), text(settings.broker_url)));
  }
  if (!pusher_.initialize(stream, mqtt_.get())) {
    return false;
  }
  shape_next_thread(ThreadShape{"sl_pusher", CONFIG_SIGHTLINE_PUSHER_STACK, CONFIG_SIGHTLINE_PUSHER_PRIORITY, CONFIG_SIGHTLINE_PUSHER_CORE});
  return pusher_.start() && (mqtt_ == nullptr || mqtt_->start());
}

// On the pusher's thread.
void Camera::handle_order(SightlineOrder order, const SightlineSettings &settings) {
  std::lock_guard<std::mutex> held(orders_mutex_);
  switch (order) {
  case SIGHTLINE_ORDER_START:
    orders_ = Orders{settings, true, false, true};
    break;
  case SIGHTLINE_ORDER_CHANGE:
    orders_.settings = settings;
    break;
  case SIGHTLINE_ORDER_KEYFRAME:
    orders_.is_keyframe_wanted = true;
    break;
  case SIGHTLINE_ORDER_PAUSE:
  case SIGHTLINE_ORDER_RESUME:
    orders_.is_paused = order == SIGHTLINE_ORDER_PAUSE;
    break;
  case SIGHTLINE_ORDER_STOP:
    orders_.is_streaming = false;
    break;
  }
}

Camera::Orders Camera::take_orders() {
  std::lock_guard<std::mutex> held(orders_mutex_);
  Orders taken = orders_;
  orders_.is_keyframe_wanted = false;
  if (!taken.is_streaming) {
    taken.settings = preset_;
  }
  return taken;
}

void Camera::work() {
  uint64_t seen_us = clock_us();
  for (;;) {
    Picture picture;
    const bool has_picture = capture_.wait_for(picture);
    const uint64_t now_us = clock_us();
    if (!has_picture) {
      if (now_us - seen_us > SENSOR_STALL_US) {
        capture_.restart();
        seen_us = now_us;
      }
      continue;
    }
    seen_us = now_us;
    const Orders orders = take_orders();
    const bool is_for_stream = orders.is_streaming && !orders.is_paused;
    if (!is_for_stream && recorder_ == nullptr) {
      watch_.pause();
      if (!orders.is_streaming) {
        encoder_.close();
      }
    } else if (now_us >= not_before_us_ && pacing_.is_due(now_us, std::max<uint32_t>(orders.settings.fps, 1))) {
      encode(picture, orders, now_us);
    }
    capture_.give_back(picture);
  }
}

void Camera::encode(const Picture &picture, const Orders &orders, uint64_t now_us) {
  if (!open_encoder(orders, now_us)) {
    return;
  }
  ask_for_keyframe(orders, now_us);
  // All are lent only where nobody gives any back: nothing is encoded, so that no frame is missing between those that are.
  FrameSlot *slot = pool_.take();
  if (slot == nullptr) {
    return;
  }
  slot->captured_us = now_us;
  if (make_unit(picture, *slot)) {
    judge(watch_.made(now_us, slot->unit.length, orders.settings.bitrate_bps), now_us);
    hand_out(*slot, orders);
  } else {
    miss_all();
    judge(watch_.failed(now_us), now_us);
  }
  slot->release();
}

bool Camera::open_encoder(const Orders &orders, uint64_t now_us) {
  const SightlineSettings wanted{capture_.width(), capture_.height(), orders.settings.fps, orders.settings.bitrate_bps};
  if (!encoder_.is_open()) {
    miss_all();
    if (!encoder_.open(wanted)) {
      judge(watch_.failed(now_us), now_us);
      return false;
    }
  } else if (wanted.fps != rates_.fps || wanted.bitrate_bps != rates_.bitrate_bps) {
    encoder_.set_rates(wanted.bitrate_bps, wanted.fps);
  }
  rates_ = wanted;
  return true;
}

void Camera::ask_for_keyframe(const Orders &orders, uint64_t now_us) {
  const bool is_for_stream = orders.is_streaming && !orders.is_paused && stream_gate_.needs_keyframe();
  const bool is_for_recording = recorder_ != nullptr && recording_gate_.needs_keyframe() && recorder_->is_idle();
  const bool is_due = (is_for_stream || is_for_recording) && now_us - forced_us_ >= FORCED_EVERY_US;
  if (orders.is_keyframe_wanted || is_due) {
    forced_us_ = now_us;
    encoder_.force_keyframe();
  }
}

bool Camera::make_unit(const Picture &picture, FrameSlot &slot) {
  const std::size_t length = encoder_.encode(picture.data, picture.bytes, slot.data, slot.room_bytes);
  // With lengths from here on: the stream's AVCC and the recording's FLV are the same bytes, and neither changes them.
  return length > 0 && sightline_unit_read(slot.data, length, &slot.unit) == SIGHTLINE_ERROR_OK;
}

void Camera::hand_out(FrameSlot &slot, const Orders &orders) {
  const bool is_keyframe = slot.unit.is_keyframe != 0;
  if (recorder_ != nullptr && recording_gate_.pass(is_keyframe, recorder_->has_room())) {
    recorder_->push(slot);
  }
  if (!orders.is_streaming || orders.is_paused) {
    stream_gate_.miss();
  } else if (stream_gate_.pass(is_keyframe, true)) {
    stream(slot);
  }
}

void Camera::stream(FrameSlot &slot) {
  const SightlineUnit &unit = slot.unit;
  if (unit.record_bytes > 0) {
    pusher_.setParameterSets(unit.record + unit.sps_offset, unit.sps_length, unit.record + unit.pps_offset, unit.pps_length);
  }
  const auto time_us = static_cast<int64_t>(slot.captured_us);
  slot.retain();
  if (!pusher_.pushLentFrame(slot.data + unit.offset, unit.length, time_us, time_us, &slot)) {
    slot.release();
    stream_gate_.miss();
  }
}

void Camera::judge(EncoderWatch::Verdict verdict, uint64_t now_us) {
  if (verdict == EncoderWatch::Verdict::GOOD) {
    return;
  }
  encoder_.close();
  miss_all();
  if (verdict == EncoderWatch::Verdict::GIVE_UP) {
    ESP_LOGE(TAG, "the encoder failed three times within a minute: the stream ends, until it is started again");
    not_before_us_ = now_us + GIVEN_UP_US;
    pusher_.onEncoderFailed();
  } else {
    ESP_LOGW(TAG, "the encoder failed, or makes eight times its rate: it is opened again");
  }
}

void Camera::miss_all() {
  stream_gate_.miss();
  recording_gate_.miss();
}

static Camera &camera() {
  // Never destroyed: its threads live as long as the chip.
  static Camera *const one = new Camera;
  return *one;
}

} // namespace sightline

extern "C" esp_err_t sightline_camera_start(const SightlineCameraSettings *settings) { return sightline::camera().start(*settings); }

extern "C" bool sightline_camera_on_motion(void) { return sightline::camera().pusher().onMotion(); }

extern "C" bool sightline_camera_on_schedule(bool is_open) { return sightline::camera().pusher().onSchedule(is_open); }

extern "C" bool sightline_camera_start_stream(void) { return sightline::camera().pusher().startStream(); }

extern "C" void sightline_camera_stop_stream(void) { sightline::camera().pusher().stopStream(); }

extern "C" void sightline_camera_on_network_up(void) { sightline::camera().pusher().onNetworkUp(); }

extern "C" bool sightline_camera_is_streaming(void) { return sightline::camera().pusher().isStreaming(); }
