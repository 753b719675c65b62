// The device's way to the cloud: esp-mqtt behind the pusher's interface.
#ifndef SIGHTLINE_MQTT_HPP
#define SIGHTLINE_MQTT_HPP

#include "message_parts.hpp"
#include "stream_pusher.hpp"

#include "mqtt_client.h"

#include <atomic>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

namespace sightline {

class EspMqtt final : public MQTTClient {
public:
  EspMqtt(std::string device_id, std::string url) : device_id_(std::move(device_id)), url_(std::move(url)) {}
  ~EspMqtt() override { stop(); }

  // Connects, and connects again for ever. False: esp-mqtt refused the settings; the log says why.
  bool start();
  // Says that the device goes, and ends the connection.
  void stop();

  std::string deviceId() const override { return device_id_; }
  bool publish(const std::string &topic, const std::string &payload, bool retain) override;
  void subscribe(const std::vector<std::string> &topics, MessageHandler on_message, ConnectionHandler on_connection) override;

private:
  struct Message {
    std::string topic;
    std::string payload;
    bool retain;
  };

  std::string online_topic() const { return "devices/" + device_id_ + "/online"; }
  static void handle(void *argument, esp_event_base_t base, int32_t id, void *data);
  void handle_event(const esp_mqtt_event_t &event);
  void handle_connected();
  void handle_subscribed(const esp_mqtt_event_t &event);
  void ask_for_topics();
  void tell_connection(bool is_connected);
  void work();

  const std::string device_id_;
  const std::string url_;
  esp_mqtt_client_handle_t client_ = nullptr;
  std::atomic<bool> is_connected_{false};

  // Held while the handlers run, so that none runs once they were removed.
  std::mutex handlers_mutex_;
  std::vector<std::string> topics_;
  MessageHandler on_message_;
  ConnectionHandler on_connection_;
  std::size_t answers_ = 0; // to the topics that were asked for last
  MessageParts parts_;          // of esp-mqtt's task alone

  std::mutex queue_mutex_;
  std::condition_variable is_due_;
  std::deque<Message> queue_;
  bool is_ending_ = false;
  std::thread publisher_;
};

} // namespace sightline

#endif
