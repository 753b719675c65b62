// The specification's C++ face: its classes, names and signatures, over sightline.h. C++17 with threads; needs neither exceptions nor RTTI.
//
// A StreamPusher has a thread of its own, which drives the pusher and calls the callbacks. The network comes from a port: two functions, below, that the
// application links, such as posix/posix_port.cpp.
#ifndef SIGHTLINE_STREAM_PUSHER_HPP
#define SIGHTLINE_STREAM_PUSHER_HPP

#include "sightline.h"

#include <array>
#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <memory>
#include <mutex>
#include <new>
#include <string>
#include <thread>
#include <utility>
#include <vector>

extern "C" {
// Gives one connection: fills clock, random and socket of `port`, with the context that they are to be called with. False: there is none to give.
bool sightline_port_create(SightlinePlatform *port);
// Takes it back; nothing of it is called afterwards.
void sightline_port_destroy(SightlinePlatform *port);
}

// What the application's MQTT client must be able to do: QoS 1, by TLS with the device's certificate. Called from the pusher's thread.
class MQTTClient {
public:
  using MessageHandler = std::function<void(const std::string &topic, const std::string &payload)>;
  using ConnectionHandler = std::function<void(bool is_connected)>;

  virtual ~MQTTClient() = default;
  // The device's id, as its certificate names it: 1 to 64 of A-Z a-z 0-9 _ -.
  virtual std::string deviceId() const = 0;
  // False: there is no connection, and the message is lost.
  virtual bool publish(const std::string &topic, const std::string &payload, bool retain) = 0;
  // From now on `on_message` is called for these topics, and `on_connection` at each change, the first time where there is a connection already; from any
  // thread. With no topics: nothing is called once this has returned.
  virtual void subscribe(const std::vector<std::string> &topics, MessageHandler on_message, ConnectionHandler on_connection) = 0;
};

class StreamPusher {
public:
  enum class StreamQuality { LOW, MEDIUM, HIGH, ULTRA, CUSTOM };
  enum class StreamTrigger { MANUAL, MOTION_BASED, SCHEDULED, ALWAYS_ON, ON_DEMAND };
  // Frozen numbers: `"state": 3` is a running stream.
  enum class StreamState { IDLE, REQUESTING, CONNECTING, STREAMING, RECONNECTING, STOPPING, ERROR, STANDBY };

  // The seed's names and defaults; what they mean says SightlineConfig.
  struct StreamConfig {
    StreamQuality quality = StreamQuality::HIGH;
    StreamTrigger trigger = StreamTrigger::MOTION_BASED;
    bool enable_adaptive_bitrate = true;
    bool enable_auto_reconnect = true;
    uint32_t max_reconnect_attempts = 5;
    uint32_t reconnect_interval_sec = 10;
    bool enable_frame_dropping = true;
    uint32_t target_latency_ms = 3000;
    // Ours.
    std::string device_id;       // empty: the MQTT client's
    std::string rtmp_server_url; // empty: ask the cloud by MQTT
    std::string stream_key;      // empty: the cloud's, or the device's id
    std::string preferred_region;
    uint32_t metrics_interval_sec = 5;
    uint32_t min_bitrate_bps = 150000;
    bool secure = true; // ask the cloud for RTMP over TLS
    SightlineFormat format = SIGHTLINE_FORMAT_ANNEX_B; // of the frames that are pushed and lent
    SightlineSettings custom = {1920, 1080, 25, 2000000}; // counts where `quality` is CUSTOM
    uint32_t source_fps_max = 60; // the most frames a second that the camera gives
  };

  struct StreamMetrics {
    float current_fps = 0;
    float current_bitrate_kbps = 0;
    uint32_t total_frames_sent = 0;
    uint32_t dropped_frames = 0;
    uint32_t latency_ms = 0;
    float network_quality = 0;
    uint64_t stream_duration_ms = 0;
  };

  struct StreamStatus {
    StreamState state = StreamState::IDLE;
    float network_quality = 0;
    StreamMetrics metrics;
    uint32_t bitrate_bps = 0; // what the encoder was last asked for
    uint32_t waiting_frames = 0;
  };

  struct StreamServerInfo {
    std::string rtmp_url;
    std::string server_name;
    std::string server_region;
    std::string error_code;
  };

  using StateCallback = std::function<void(StreamState state, const std::string &message)>;
  using MetricsCallback = std::function<void(const StreamMetrics &metrics)>;
  using ServerCallback = std::function<void(const StreamServerInfo &server_info, bool success)>;
  using EncoderCallback = std::function<void(SightlineOrder order, const SightlineSettings &settings)>;
  using ReleaseCallback = std::function<void(void *token)>;

  StreamPusher() = default;
  StreamPusher(const StreamPusher &) = delete;
  StreamPusher &operator=(const StreamPusher &) = delete;
  ~StreamPusher() { end(); }

  // Checks the settings; nothing is sent anywhere. `mqtt_client` may be null where `rtmp_server_url` is set; it must outlive this. False: lastError says why.
  bool initialize(const StreamConfig &config, MQTTClient *mqtt_client) {
    end();
    mqtt_ = mqtt_client;
    device_ = !config.device_id.empty() ? config.device_id : mqtt_ != nullptr ? mqtt_->deviceId() : std::string();
    if (!sightline_port_create(&port_)) {
      return failed(SIGHTLINE_ERROR_NULL_POINTER);
    }
    SightlineConfig settings;
    sightline_config_default(&settings);
    settings.device_id = device_.c_str();
    settings.quality = static_cast<uint32_t>(config.quality);
    settings.custom = config.custom;
    settings.format = static_cast<uint32_t>(config.format);
    room_bytes_ = config.format == SIGHTLINE_FORMAT_ANNEX_B ? ROOM_BYTES : 0;
    settings.source_fps_max = config.source_fps_max;
    settings.trigger = static_cast<uint32_t>(config.trigger);
    settings.enable_adaptive_bitrate = config.enable_adaptive_bitrate;
    settings.enable_auto_reconnect = config.enable_auto_reconnect;
    settings.max_reconnect_attempts = config.max_reconnect_attempts;
    settings.reconnect_interval_sec = config.reconnect_interval_sec;
    settings.enable_frame_dropping = config.enable_frame_dropping;
    settings.target_latency_ms = config.target_latency_ms;
    settings.metrics_interval_sec = config.metrics_interval_sec;
    settings.min_bitrate_bps = config.min_bitrate_bps;
    settings.secure = config.secure;
    settings.preferred_region = config.preferred_region.c_str();
    settings.rtmp_server_url = config.rtmp_server_url.c_str();
    settings.stream_key = config.stream_key.c_str();
    const SightlinePlatform platform = table();
    // `new` of an array of max_align_t is aligned for anything.
    memory_.reset(new (std::nothrow) std::max_align_t[sightline_pusher_size() / sizeof(std::max_align_t) + 1]);
    const SightlineError error =
        sightline_pusher_init(memory_.get(), memory_ ? sightline_pusher_size() : 0, &settings, &platform, &pusher_);
    if (error != SIGHTLINE_ERROR_OK) {
      sightline_port_destroy(&port_);
      return failed(error);
    }
    return true;
  }

  // Starts the pusher's thread: the way to the cloud opens. A second call does nothing.
  bool start() {
    if (pusher_ == nullptr) {
      return failed(SIGHTLINE_ERROR_NOT_INITIALISED);
    }
    if (worker_.joinable()) {
      return true;
    }
    const bool is_started = call([&] {
      is_ending_ = false;
      return sightline_pusher_start(pusher_);
    });
    if (is_started) {
      worker_ = std::thread([this] { work(); });
      if (mqtt_ != nullptr) {
        const std::string prefix = "devices/" + device_ + "/stream/";
        mqtt_->subscribe(
            {prefix + "response", prefix + "command"},
            [this](const std::string &topic, const std::string &payload) {
              call([&] {
                return sightline_pusher_on_message(pusher_, topic.c_str(), reinterpret_cast<const uint8_t *>(payload.data()), payload.size());
              });
            },
            [this](bool is_connected) { call([&] { return sightline_pusher_on_mqtt(pusher_, is_connected); }); });
      }
    }
    return is_started;
  }

  // Starts the stream. `key`: the name to publish under where `rtmp_server_url` is set; a cloud gives its own.
  bool startStream(const std::string &key = std::string()) {
    return call([&] { return sightline_pusher_start_stream(pusher_, key.c_str()); });
  }

  // Takes a copy of one H.264 access unit in Annex B, in decoding order, captured now: from anything with `buf` and `len`, such as camera_fb_t. The frame is
  // the caller's again at once. False where it was not taken: no access unit, not running, or as many copies wait as may.
  template <class Frame> bool pushFrame(const Frame *frame) {
    return frame != nullptr && pushFrame(frame->buf, frame->len);
  }

  bool pushFrame(const uint8_t *data, std::size_t length) {
    std::unique_lock<std::mutex> held(mutex_);
    for (Copy &copy : copies_) {
      if (copy.is_lent || data == nullptr || pusher_ == nullptr) {
        continue;
      }
      copy.bytes.resize(room_bytes_ + length);
      std::memset(copy.bytes.data(), 0, room_bytes_);
      std::memcpy(copy.bytes.data() + room_bytes_, data, length);
      copy.is_lent = true;
      const int64_t now_us = static_cast<int64_t>(port_.clock_us(port_.context));
      const SightlineError error = sightline_pusher_push_frame(pusher_, copy.bytes.data(), copy.bytes.size(), now_us, now_us, &copy);
      if (error != SIGHTLINE_ERROR_OK) {
        copy.is_lent = false;
      }
      return told(held, error);
    }
    return told(held, pusher_ == nullptr ? SIGHTLINE_ERROR_NOT_INITIALISED : data == nullptr ? SIGHTLINE_ERROR_NULL_POINTER : SIGHTLINE_ERROR_BUSY);
  }

  // Lends one access unit without a copy, as sightline_pusher_push_frame says; `token` comes back by the release callback.
  bool pushLentFrame(uint8_t *data, std::size_t length, int64_t pts_us, int64_t dts_us, void *token) {
    return call([&] { return sightline_pusher_push_frame(pusher_, data, length, pts_us, dts_us, token); });
  }

  // Tells the parameter sets of an encoder that gives them apart, as sightline_pusher_set_parameter_sets says; they are copied.
  bool setParameterSets(const uint8_t *sps, std::size_t sps_length, const uint8_t *pps, std::size_t pps_length) {
    return call([&] { return sightline_pusher_set_parameter_sets(pusher_, sps, sps_length, pps, pps_length); });
  }

  // The network is back: what waits is tried at once.
  void onNetworkUp() {
    call([&] { return sightline_pusher_on_network_up(pusher_); });
  }

  // The encoder failed for good: the stream ends in error, until startStream.
  void onEncoderFailed() {
    call([&] { return sightline_pusher_on_encoder_failed(pusher_); });
  }

  void stopStream() {
    call([&] { return sightline_pusher_stop_stream(pusher_); });
  }

  // Ends the stream and the thread, and waits for the goodbyes, two seconds at most; from within a callback it does not wait.
  void stop() {
    if (pusher_ == nullptr) {
      return;
    }
    if (mqtt_ != nullptr && worker_.joinable()) {
      mqtt_->subscribe({}, nullptr, nullptr);
    }
    call([&] {
      is_ending_ = true;
      return sightline_pusher_stop(pusher_);
    });
    if (worker_.joinable() && worker_.get_id() != std::this_thread::get_id()) {
      worker_.join();
    }
  }

  // Another size, frame rate and bit rate in bits a second, from the next key frame on. False: they can't be, and the stream stays as it was.
  bool setCustomQuality(uint32_t width, uint32_t height, uint32_t fps, uint32_t bitrate) {
    return call([&] { return sightline_pusher_set_custom_quality(pusher_, width, height, fps, bitrate); });
  }

  bool adjustBitrate(uint32_t bitrate) {
    return call([&] { return sightline_pusher_adjust_bitrate(pusher_, bitrate); });
  }

  void setAdaptiveBitrate(bool is_adaptive) {
    call([&] { return sightline_pusher_set_adaptive_bitrate(pusher_, is_adaptive); });
  }

  // Something moves, now: to be called again while it does. The stream ends 15 s after the last time.
  bool onMotion() {
    return call([&] { return sightline_pusher_on_motion(pusher_); });
  }

  bool onSchedule(bool is_open) {
    return call([&] { return sightline_pusher_on_schedule(pusher_, is_open); });
  }

  bool isStreaming() const { return sightline_pusher_is_streaming(pusher_); }

  StreamStatus getStatus() const {
    SightlineStatus now{};
    StreamStatus status;
    std::lock_guard<std::mutex> held(mutex_);
    if (sightline_pusher_status(pusher_, &now) == SIGHTLINE_ERROR_OK) {
      status.state = static_cast<StreamState>(now.state);
      status.metrics = metrics_of(now.metrics);
      status.network_quality = now.metrics.network_quality;
      status.bitrate_bps = now.settings.bitrate_bps;
      status.waiting_frames = now.lent_frames;
    }
    return status;
  }

  // Why the last call gave false.
  SightlineError lastError() const {
    std::lock_guard<std::mutex> held(mutex_);
    return error_;
  }

  // Callbacks run on the pusher's thread, outside of its lock, and may call everything here.
  void setStateCallback(StateCallback callback) { set(on_state_, std::move(callback)); }
  void setMetricsCallback(MetricsCallback callback) { set(on_metrics_, std::move(callback)); }
  void setServerCallback(ServerCallback callback) { set(on_server_, std::move(callback)); }
  void setEncoderCallback(EncoderCallback callback) { set(on_encoder_, std::move(callback)); }
  void setReleaseCallback(ReleaseCallback callback) { set(on_release_, std::move(callback)); }

private:
  // More than the pusher holds: sixteen in its queue, two in its session.
  static constexpr std::size_t COPIES_MAX = 20;
  // For start codes of three bytes, of which an access unit has one a slice.
  static constexpr std::size_t ROOM_BYTES = 32;

  struct Copy {
    std::vector<uint8_t> bytes;
    bool is_lent = false;
  };

  template <class Callback> void set(Callback &place, Callback callback) {
    std::lock_guard<std::mutex> held(mutex_);
    place = std::move(callback);
  }

  bool failed(SightlineError error) {
    std::lock_guard<std::mutex> held(mutex_);
    error_ = error;
    return false;
  }

  template <class Work> bool call(Work work) {
    std::unique_lock<std::mutex> held(mutex_);
    return told(held, work());
  }

  // Notes how a call went, and lets the thread look at what it has made.
  bool told(std::unique_lock<std::mutex> &held, SightlineError error) {
    if (error != SIGHTLINE_ERROR_OK) {
      error_ = error;
    }
    is_due_ = true;
    held.unlock();
    due_.notify_one();
    return error == SIGHTLINE_ERROR_OK;
  }

  // The pusher's thread: a turn, then what it said, then a pause until something is due.
  void work() {
    std::unique_lock<std::mutex> held(mutex_);
    for (;;) {
      uint64_t wait_us = SIGHTLINE_NEVER;
      is_due_ = false;
      const SightlineError error = sightline_pusher_poll(pusher_, &wait_us);
      say(held);
      if (error != SIGHTLINE_ERROR_OK || (wait_us == SIGHTLINE_NEVER && is_ending_)) {
        return;
      }
      if (wait_us == SIGHTLINE_NEVER) {
        due_.wait(held, [this] { return is_due_; });
      } else if (wait_us > 0) {
        due_.wait_for(held, std::chrono::microseconds(wait_us), [this] { return is_due_; });
      }
    }
  }

  // Gives out, without the lock, what was noted with it.
  void say(std::unique_lock<std::mutex> &held) {
    std::vector<std::function<void()>> said;
    said.swap(said_);
    held.unlock();
    for (const std::function<void()> &one : said) {
      one();
    }
    held.lock();
  }

  void end() {
    if (pusher_ == nullptr) {
      return;
    }
    stop();
    std::unique_lock<std::mutex> held(mutex_);
    sightline_pusher_deinit(pusher_);
    pusher_ = nullptr;
    memory_.reset();
    say(held);
    sightline_port_destroy(&port_);
  }

  static StreamMetrics metrics_of(const SightlineMetrics &from) {
    StreamMetrics metrics;
    metrics.current_fps = from.fps;
    metrics.current_bitrate_kbps = from.bitrate_kbps;
    metrics.total_frames_sent = static_cast<uint32_t>(from.total_frames);
    metrics.dropped_frames = static_cast<uint32_t>(from.dropped_frames);
    metrics.latency_ms = from.latency_ms;
    metrics.network_quality = from.network_quality;
    metrics.stream_duration_ms = from.stream_duration_ms;
    return metrics;
  }

  static StreamPusher &of(void *context) { return *static_cast<StreamPusher *>(context); }

  // Notes one thing to say, with the callback as it is then. At most some tens in one turn: the pusher gives out sixteen.
  template <class Callback, class... Words> void note(const Callback &callback, Words... words) {
    if (callback) {
      said_.emplace_back([callback, words...] { callback(words...); });
    }
  }

  SightlinePlatform table() {
    SightlinePlatform table{};
    table.struct_size = sizeof table;
    table.context = this;
    table.clock_us = [](void *context) { return of(context).port_.clock_us(of(context).port_.context); };
    table.wall_clock_us = [](void *context) { return of(context).port_.wall_clock_us(of(context).port_.context); };
    table.random = [](void *context) { return of(context).port_.random(of(context).port_.context); };
    table.socket_open = [](void *context, const char *host, uint16_t port, bool with_tls) {
      of(context).port_.socket_open(of(context).port_.context, host, port, with_tls);
    };
    table.socket_state = [](void *context) { return of(context).port_.socket_state(of(context).port_.context); };
    table.socket_send = [](void *context, const uint8_t *bytes, size_t length) {
      return of(context).port_.socket_send(of(context).port_.context, bytes, length);
    };
    table.socket_recv = [](void *context, uint8_t *bytes, size_t size) {
      return of(context).port_.socket_recv(of(context).port_.context, bytes, size);
    };
    table.socket_close = [](void *context) { of(context).port_.socket_close(of(context).port_.context); };
    if (port_.socket_unacknowledged != nullptr) {
      table.socket_unacknowledged = [](void *context) {
        return of(context).port_.socket_unacknowledged(of(context).port_.context);
      };
    }
    table.release = [](void *context, void *token) {
      for (Copy &copy : of(context).copies_) {
        if (&copy == token) {
          copy.is_lent = false;
          return;
        }
      }
      of(context).note(of(context).on_release_, token);
    };
    table.encoder = [](void *context, uint32_t order, const SightlineSettings *settings) {
      of(context).note(of(context).on_encoder_, static_cast<SightlineOrder>(order), *settings);
    };
    if (mqtt_ != nullptr) {
      table.publish = [](void *context, const char *topic, const uint8_t *payload, size_t length, bool retain) {
        MQTTClient *const mqtt = of(context).mqtt_;
        std::string name(topic), message(reinterpret_cast<const char *>(payload), length);
        of(context).said_.emplace_back([mqtt, name, message, retain] { mqtt->publish(name, message, retain); });
        return true;
      };
    }
    table.on_state = [](void *context, const SightlineStateChange *change) {
      std::string message = change->state_name;
      if (change->error_code[0] != '\0') {
        message = message + ": " + change->error_code;
      }
      of(context).note(of(context).on_state_, static_cast<StreamState>(change->state), message);
    };
    table.on_metrics = [](void *context, const SightlineMetrics *metrics) {
      of(context).note(of(context).on_metrics_, metrics_of(*metrics));
    };
    table.on_server = [](void *context, const SightlineServer *server, bool success) {
      StreamServerInfo info{server->rtmp_url, server->server_name, server->server_region, server->error_code};
      of(context).note(of(context).on_server_, info, success);
    };
    return table;
  }

  mutable std::mutex mutex_;
  std::condition_variable due_;
  bool is_due_ = false;
  bool is_ending_ = false;
  std::thread worker_;
  MQTTClient *mqtt_ = nullptr;
  std::string device_;
  SightlinePlatform port_{};
  std::unique_ptr<std::max_align_t[]> memory_;
  SightlinePusher *pusher_ = nullptr;
  SightlineError error_ = SIGHTLINE_ERROR_OK;
  std::array<Copy, COPIES_MAX> copies_;
  std::size_t room_bytes_ = ROOM_BYTES;
  std::vector<std::function<void()>> said_;
  StateCallback on_state_;
  MetricsCallback on_metrics_;
  ServerCallback on_server_;
  EncoderCallback on_encoder_;
  ReleaseCallback on_release_;
};

// The recorder that owns the camera's loop, as far as streaming goes: each frame goes to the application's own recording first, then to the pusher, so that the
// recording goes on whatever the stream does.
class VideoRecorder {
public:
  struct RecorderConfig {
    bool enable_live_streaming = false;
    bool auto_start_stream_on_motion = false;
    StreamPusher::StreamQuality stream_quality = StreamPusher::StreamQuality::HIGH;
    StreamPusher::StreamTrigger stream_trigger = StreamPusher::StreamTrigger::MOTION_BASED;
    std::string rtmp_server_url; // empty: ask the cloud by MQTT
    std::string stream_key;      // empty: the cloud's, or the device's id
    // Ours.
    std::string device_id; // empty: the MQTT client's
    bool secure = true;    // ask the cloud for RTMP over TLS
  };

  using RecordingCallback = std::function<void(const uint8_t *data, std::size_t length)>;

  bool initialize(const RecorderConfig &config) {
    config_ = config;
    return true;
  }

  // Where frames are recorded. Called by pushFrame, in its thread.
  void setRecordingCallback(RecordingCallback callback) { on_recording_ = std::move(callback); }

  // Begins or ends live streaming. False where the settings forbid it, or can't be used: pusher().lastError() says why.
  bool enableLiveStreaming(bool enable, MQTTClient *mqtt_client) {
    pusher_.stop();
    is_live_ = false;
    if (!enable) {
      return true;
    }
    if (!config_.enable_live_streaming) {
      return false;
    }
    StreamPusher::StreamConfig stream;
    stream.quality = config_.stream_quality;
    stream.trigger = config_.stream_trigger;
    stream.rtmp_server_url = config_.rtmp_server_url;
    stream.stream_key = config_.stream_key;
    stream.device_id = config_.device_id;
    stream.secure = config_.secure;
    is_live_ = pusher_.initialize(stream, mqtt_client) && pusher_.start();
    return is_live_;
  }

  // One H.264 access unit. False where the stream did not take it; it was recorded nevertheless.
  template <class Frame> bool pushFrame(const Frame *frame) {
    if (frame != nullptr && on_recording_) {
      on_recording_(frame->buf, frame->len);
    }
    return is_live_ && pusher_.pushFrame(frame);
  }

  // Something moves, now: to be called again while it does.
  bool onMotion() { return is_live_ && config_.auto_start_stream_on_motion && pusher_.onMotion(); }

  bool isStreaming() const { return pusher_.isStreaming(); }

  StreamPusher &pusher() { return pusher_; }

private:
  RecorderConfig config_;
  RecordingCallback on_recording_;
  bool is_live_ = false;
  StreamPusher pusher_;
};

#endif
