// What the specification's snippets take for granted: a camera that gives H.264, and an MQTT client. The camera is a clip (CLIP) in its own time, the
// client mosquitto's programs at a broker of this host (BROKER_PORT).
#ifndef SEED_APPLICATION_HPP
#define SEED_APPLICATION_HPP

#include "clip.h"
#include "stream_pusher.hpp"

#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <mutex>
#include <string>
#include <sys/types.h>
#include <sys/wait.h>
#include <thread>
#include <unistd.h>
#include <vector>

struct camera_fb_t {
  uint8_t *buf;
  size_t len;
};

inline const char *setting(const char *name) {
  const char *value = std::getenv(name);
  if (value == nullptr) {
    std::fprintf(stderr, "%s is not set\n", name);
    std::exit(2);
  }
  return value;
}

struct Camera {
  Clip clip = clip_open(setting("CLIP"));
  uint32_t next = 0;
  std::chrono::steady_clock::time_point began{};
  camera_fb_t buffer{};
};

inline Camera &camera() {
  static Camera camera;
  return camera;
}

inline bool camera_has_frames() { return camera().next < camera().clip.units; }

// One buffer, which is the camera's again once it is returned.
inline camera_fb_t *esp_camera_fb_get() {
  Camera &from = camera();
  if (from.next == 0) {
    from.began = std::chrono::steady_clock::now();
  }
  std::this_thread::sleep_until(from.began + std::chrono::microseconds(1000000LL * from.next / from.clip.fps));
  size_t length = 0;
  const uint8_t *unit = clip_unit(&from.clip, from.next++, &length);
  from.buffer.buf = static_cast<uint8_t *>(std::malloc(length));
  from.buffer.len = length;
  std::memcpy(from.buffer.buf, unit, length);
  return &from.buffer;
}

inline void esp_camera_fb_return(camera_fb_t *frame) {
  std::memset(frame->buf, 0xff, frame->len);
  std::free(frame->buf);
  frame->buf = nullptr;
}

class MosquittoClient : public MQTTClient {
public:
  ~MosquittoClient() override { subscribe({}, nullptr, nullptr); }

  std::string deviceId() const override { return "chip-1"; }

  bool publish(const std::string &topic, const std::string &payload, bool retain) override {
    const std::string command =
        std::string("mosquitto_pub -q 1 -s -p ") + setting("BROKER_PORT") + (retain ? " -r" : "") + " -t " + topic;
    FILE *program = popen(command.c_str(), "w");
    if (program == nullptr) {
      return false;
    }
    std::fwrite(payload.data(), 1, payload.size(), program);
    return pclose(program) == 0;
  }

  void subscribe(const std::vector<std::string> &topics, MessageHandler on_message, ConnectionHandler on_connection) override {
    if (process_ > 0) {
      kill(process_, SIGTERM);
      listener_.join();
      waitpid(process_, nullptr, 0);
      process_ = 0;
    }
    if (topics.empty()) {
      return;
    }
    int ends[2];
    if (pipe(ends) != 0) {
      return;
    }
    // A program that writes to a pipe keeps its lines until its buffer is full, or until a message flushes it: without stdbuf the pusher would hear that it
    // is connected only with the first message. All is ready before the fork: until exec, the child may not allocate.
    std::vector<const char *> words{"stdbuf", "-oL", "mosquitto_sub", "-d", "-v", "-q", "1", "-p", setting("BROKER_PORT")};
    for (const std::string &topic : topics) {
      words.push_back("-t");
      words.push_back(topic.c_str());
    }
    words.push_back(nullptr);
    process_ = fork();
    if (process_ == 0) {
      dup2(ends[1], STDOUT_FILENO);
      execvp(words[0], const_cast<char *const *>(words.data()));
      _exit(127);
    }
    close(ends[1]);
    listener_ = std::thread([descriptor = ends[0], on_message, on_connection] { listen(descriptor, on_message, on_connection); });
  }

private:
  // Its debug lines tell when it has subscribed; a message is a line of its topic and its payload.
  static void listen(int descriptor, const MessageHandler &on_message, const ConnectionHandler &on_connection) {
    FILE *lines = fdopen(descriptor, "r");
    char *line = nullptr;
    size_t room = 0;
    for (ssize_t length = 0; (length = getline(&line, &room, lines)) > 0;) {
      const std::string text(line, static_cast<size_t>(length - 1));
      const size_t space = text.find(' ');
      if (text.rfind("Subscribed", 0) == 0) {
        on_connection(true);
      } else if (text.rfind("devices/", 0) == 0 && space != std::string::npos) {
        on_message(text.substr(0, space), text.substr(space + 1));
      }
    }
    std::free(line);
    std::fclose(lines);
  }

  pid_t process_ = 0;
  std::thread listener_;
};

inline MQTTClient *getMqttClient() {
  static MosquittoClient client;
  return &client;
}

inline void pause_ms(int milliseconds) { std::this_thread::sleep_for(std::chrono::milliseconds(milliseconds)); }

#endif
