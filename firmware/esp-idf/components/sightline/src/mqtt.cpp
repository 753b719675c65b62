#include "mqtt.hpp"

#include "credentials.hpp"
#include "thread.hpp"

#include "esp_crt_bundle.h"
#include "esp_log.h"


namespace sightline {

namespace {

const char *const TAG = "sightline";
// Commands must arrive, and so must what the cloud is asked.
constexpr int QOS = 1;
// Messages that wait for esp-mqtt: a start says five, and figures come each five seconds. What is more is lost, which the pusher allows.
constexpr std::size_t QUEUE_MAX = 16;
// The cloud notices a device that is gone without a word after one and a half of it.
constexpr int KEEPALIVE_SEC = 30;
// A message is at most 640 bytes, its topic 104: sent in one piece.
constexpr int BUFFER_BYTES = 2048;
// Unacknowledged messages: some tens, on a link that is down for a while.
constexpr uint64_t OUTBOX_BYTES_MAX = 16 * 1024;
// esp-mqtt's own figure is 10 s; the cloud's broker takes a fleet that comes back at once.
constexpr int RECONNECT_MS = 5000;
// esp-mqtt copies into its outbox.
constexpr std::size_t PUBLISHER_STACK_BYTES = 4 * 1024;
constexpr int PUBLISHER_PRIORITY = 4;
// A handshake with the device's certificate in esp-mqtt's task, and the pusher's reading of a message.
constexpr int CLIENT_STACK_BYTES = 10 * 1024;
constexpr int CLIENT_PRIORITY = 5;
constexpr char OFFLINE[] = "{\"online\":false}";
constexpr char ONLINE[] = "{\"online\":true}";

} // namespace

bool EspMqtt::start() {
  if (client_ != nullptr) {
    return true;
  }
  const Credentials &shown = credentials();
  const std::string will_topic = online_topic();
  esp_mqtt_client_config_t config = {};
  config.broker.address.uri = url_.c_str();
  if (shown.authority != nullptr) {
    config.broker.verification.certificate = shown.authority;
  } else {
    config.broker.verification.crt_bundle_attach = esp_crt_bundle_attach;
  }
  // The cloud's broker compares it with the certificate.
  config.credentials.client_id = device_id_.c_str();
  config.credentials.authentication.certificate = shown.certificate;
  config.credentials.authentication.key = shown.key;
  config.session.last_will.topic = will_topic.c_str();
  config.session.last_will.msg = OFFLINE;
  config.session.last_will.qos = QOS;
  config.session.last_will.retain = 1;
  config.session.keepalive = KEEPALIVE_SEC;
  config.session.protocol_ver = MQTT_PROTOCOL_V_3_1_1;
  config.network.reconnect_timeout_ms = RECONNECT_MS;
  config.task.stack_size = CLIENT_STACK_BYTES;
  config.task.priority = CLIENT_PRIORITY;
  config.buffer.size = BUFFER_BYTES;
  config.outbox.limit = OUTBOX_BYTES_MAX;
  client_ = esp_mqtt_client_init(&config);
  if (client_ == nullptr || esp_mqtt_client_register_event(client_, MQTT_EVENT_ANY, handle, this) != ESP_OK) {
    ESP_LOGE(TAG, "esp-mqtt refuses %s: it must be mqtts://host:8883, and certificate and key PEM", url_.c_str());
    return false;
  }
  is_ending_ = false;
  shape_next_thread(ThreadShape{"sl_mqtt_out", PUBLISHER_STACK_BYTES, PUBLISHER_PRIORITY, -1});
  publisher_ = std::thread([this] { work(); });
  return esp_mqtt_client_start(client_) == ESP_OK;
}

void EspMqtt::stop() {
  if (publisher_.joinable()) {
    {
      std::lock_guard<std::mutex> held(queue_mutex_);
      is_ending_ = true;
    }
    is_due_.notify_one();
    publisher_.join();
  }
  if (client_ == nullptr) {
    return;
  }
  if (is_connected_) {
    esp_mqtt_client_publish(client_, online_topic().c_str(), OFFLINE, 0, QOS, 1);
  }
  esp_mqtt_client_stop(client_);
  esp_mqtt_client_destroy(client_);
  client_ = nullptr;
  is_connected_ = false;
}

// Does not touch esp-mqtt: its lock is held while it connects, for up to ten seconds, and the caller is the pusher's thread.
bool EspMqtt::publish(const std::string &topic, const std::string &payload, bool retain) {
  if (!is_connected_) {
    return false;
  }
  {
    std::lock_guard<std::mutex> held(queue_mutex_);
    if (queue_.size() >= QUEUE_MAX) {
      return false;
    }
    queue_.push_back(Message{topic, payload, retain});
  }
  is_due_.notify_one();
  return true;
}

// The publisher's thread: hands on what waits, and leaves when nothing does and the end was asked for.
void EspMqtt::work() {
  std::unique_lock<std::mutex> held(queue_mutex_);
  for (;;) {
    is_due_.wait(held, [this] { return is_ending_ || !queue_.empty(); });
    if (queue_.empty()) {
      return;
    }
    const Message message = std::move(queue_.front());
    queue_.pop_front();
    held.unlock();
    const int id = esp_mqtt_client_enqueue(client_, message.topic.c_str(), message.payload.data(), static_cast<int>(message.payload.size()), QOS,
                                           message.retain, true);
    if (id < 0) {
      ESP_LOGW(TAG, "%s was not sent: esp-mqtt's outbox is full", message.topic.c_str());
    }
    held.lock();
  }
}

void EspMqtt::subscribe(const std::vector<std::string> &topics, MessageHandler on_message, ConnectionHandler on_connection) {
  {
    std::lock_guard<std::mutex> held(handlers_mutex_);
    topics_ = topics;
    on_message_ = std::move(on_message);
    on_connection_ = std::move(on_connection);
  }
  if (is_connected_ && !topics.empty()) {
    ask_for_topics();
  }
}

// All topics, at each connection: the session is a clean one.
void EspMqtt::ask_for_topics() {
  std::vector<std::string> topics;
  {
    std::lock_guard<std::mutex> held(handlers_mutex_);
    topics = topics_;
    answers_ = 0;
  }
  for (const std::string &topic : topics) {
    // Without the handlers' lock: esp-mqtt holds its own while it calls a handler.
    esp_mqtt_client_subscribe_single(client_, topic.c_str(), QOS);
  }
}

void EspMqtt::handle(void *argument, esp_event_base_t, int32_t, void *data) {
  static_cast<EspMqtt *>(argument)->handle_event(*static_cast<const esp_mqtt_event_t *>(data));
}

void EspMqtt::handle_event(const esp_mqtt_event_t &event) {
  switch (event.event_id) {
  case MQTT_EVENT_CONNECTED:
    handle_connected();
    break;
  case MQTT_EVENT_SUBSCRIBED:
    handle_subscribed(event);
    break;
  case MQTT_EVENT_DISCONNECTED:
    ESP_LOGI(TAG, "the broker is gone");
    is_connected_ = false;
    parts_.clear();
    tell_connection(false);
    break;
  case MQTT_EVENT_DATA:
    if (parts_.add(event.topic, static_cast<std::size_t>(event.topic_len), event.data, static_cast<std::size_t>(event.data_len),
                   static_cast<std::size_t>(event.current_data_offset), static_cast<std::size_t>(event.total_data_len))) {
      std::lock_guard<std::mutex> held(handlers_mutex_);
      if (on_message_) {
        on_message_(parts_.topic(), parts_.payload());
      }
    }
    break;
  case MQTT_EVENT_ERROR:
    if (event.error_handle != nullptr) {
      // Of connect_return_code: 5 is a device that the cloud does not know.
      ESP_LOGW(TAG, "MQTT: esp-tls 0x%x, mbedTLS -0x%x, certificate flags 0x%x, refused with %d",
               static_cast<unsigned>(event.error_handle->esp_tls_last_esp_err), static_cast<unsigned>(-event.error_handle->esp_tls_stack_err),
               static_cast<unsigned>(event.error_handle->esp_tls_cert_verify_flags), static_cast<int>(event.error_handle->connect_return_code));
    }
    break;
  default:
    break;
  }
}

void EspMqtt::handle_connected() {
  ESP_LOGI(TAG, "connected to the broker");
  is_connected_ = true;
  publish(online_topic(), ONLINE, true);
  ask_for_topics();
}

// The way to the cloud is open when its answers would come.
void EspMqtt::handle_subscribed(const esp_mqtt_event_t &event) {
  if (event.error_handle != nullptr && event.error_handle->error_type == MQTT_ERROR_TYPE_SUBSCRIBE_FAILED) {
    ESP_LOGE(TAG, "the broker refuses this device's topics: is the certificate that of %s?", device_id_.c_str());
    return;
  }
  bool are_all_answered = false;
  {
    std::lock_guard<std::mutex> held(handlers_mutex_);
    answers_++;
    are_all_answered = answers_ == topics_.size();
  }
  if (are_all_answered) {
    tell_connection(true);
  }
}

void EspMqtt::tell_connection(bool is_connected) {
  std::lock_guard<std::mutex> held(handlers_mutex_);
  if (on_connection_) {
    on_connection_(is_connected);
  }
}

} // namespace sightline
