// Records what the encoder makes, in a thread of its own: a card may stand still for a second, and the camera must not.
#ifndef SIGHTLINE_RECORDER_HPP
#define SIGHTLINE_RECORDER_HPP

#include "flv_files.hpp"
#include "frame_pool.hpp"

#include <condition_variable>
#include <cstddef>
#include <deque>
#include <mutex>
#include <thread>

namespace sightline {

class Recorder {
public:
  // Access units that wait for the card: a quarter of a second at 30 a second, in buffers that the stream can't have.
  static constexpr std::size_t QUEUE_MAX = 8;

  explicit Recorder(RecordingSettings settings) : files_(std::move(settings)) {}
  ~Recorder() { stop(); }

  void start();
  // Ends the file, after what waits.
  void stop();
  // Room for one more. Only the caller of `push` makes it less.
  bool has_room();
  // Nothing waits: after a gap it is worth a key frame again.
  bool is_idle();
  // Takes one; it is given back when it is written.
  void push(FrameSlot &slot);

private:
  void work();

  FlvFiles files_;
  std::mutex mutex_;
  std::condition_variable is_due_;
  std::deque<FrameSlot *> queue_;
  bool is_ending_ = false;
  std::thread thread_;
};

} // namespace sightline

#endif
