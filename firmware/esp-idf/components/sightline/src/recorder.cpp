#include "recorder.hpp"

#include "thread.hpp"

#include "esp_log.h"

namespace sightline {

namespace {

const char *const TAG = "sightline";
// FAT's and stdio's calls.
constexpr std::size_t STACK_BYTES = 6 * 1024;
// Below all that must be in time.
constexpr int PRIORITY = 3;

} // namespace

void Recorder::start() {
  if (thread_.joinable()) {
    return;
  }
  is_ending_ = false;
  shape_next_thread(ThreadShape{"sl_recorder", STACK_BYTES, PRIORITY, -1});
  thread_ = std::thread([this] { work(); });
}

void Recorder::stop() {
  if (!thread_.joinable()) {
    return;
  }
  {
    std::lock_guard<std::mutex> held(mutex_);
    is_ending_ = true;
  }
  is_due_.notify_one();
  thread_.join();
}

bool Recorder::has_room() {
  std::lock_guard<std::mutex> held(mutex_);
  return queue_.size() < QUEUE_MAX;
}

bool Recorder::is_idle() {
  std::lock_guard<std::mutex> held(mutex_);
  return queue_.empty();
}

void Recorder::push(FrameSlot &slot) {
  slot.retain();
  {
    std::lock_guard<std::mutex> held(mutex_);
    queue_.push_back(&slot);
  }
  is_due_.notify_one();
}

void Recorder::work() {
  std::unique_lock<std::mutex> held(mutex_);
  bool was_good = true;
  for (;;) {
    is_due_.wait(held, [this] { return is_ending_ || !queue_.empty(); });
    if (queue_.empty()) {
      break;
    }
    FrameSlot &slot = *queue_.front();
    held.unlock();
    const bool is_good = files_.write(slot.unit, slot.data + slot.unit.offset, slot.captured_us);
    slot.release();
    if (!is_good && was_good) {
      ESP_LOGE(TAG, "%s can't be written: the card is full, broken or gone; it is tried again at each key frame", files_.path().c_str());
    } else if (is_good && !was_good) {
      ESP_LOGI(TAG, "the recording goes on in %s", files_.path().c_str());
    }
    was_good = is_good;
    held.lock();
    // Counted until it is written, so that as many buffers are in use as there is room for.
    queue_.pop_front();
  }
  held.unlock();
  files_.finish();
}

} // namespace sightline
