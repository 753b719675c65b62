// An MQTT message that comes in parts, put together.
#ifndef SIGHTLINE_MESSAGE_PARTS_HPP
#define SIGHTLINE_MESSAGE_PARTS_HPP

#include <cstddef>
#include <string>

namespace sightline {

class MessageParts {
public:
  // What the pusher reads at most; an answer with three servers and a token is half of it.
  static constexpr std::size_t BYTES_MAX = 4096;

  // Takes a part; `topic` is that of the first one, empty for all others. True: the message is whole. One that is too long, or whose parts are not in order, is left out.
  bool add(const char *topic, std::size_t topic_length, const char *data, std::size_t length, std::size_t offset, std::size_t total) {
    if (offset == 0) {
      topic_.assign(topic, topic_length);
      payload_.clear();
      is_good_ = total <= BYTES_MAX && topic_length > 0;
    }
    is_good_ = is_good_ && offset == payload_.size() && length <= total - offset;
    if (!is_good_) {
      return false;
    }
    payload_.append(data, length);
    if (payload_.size() < total) {
      return false;
    }
    is_good_ = false;
    return true;
  }

  // The connection is gone: what was begun does not go on.
  void clear() { is_good_ = false; }

  const std::string &topic() const { return topic_; }
  const std::string &payload() const { return payload_; }

private:
  std::string topic_;
  std::string payload_;
  bool is_good_ = false;
};

} // namespace sightline

#endif
