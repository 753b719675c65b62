// Looks at what an encoder makes: one that fails, hangs, or makes eight times its rate is opened again, and abandoned where that does not help. The
// figures are those of the Linux agent (video/encode/src).
#ifndef SIGHTLINE_ENCODER_WATCH_HPP
#define SIGHTLINE_ENCODER_WATCH_HPP

#include <cstddef>
#include <cstdint>

namespace sightline {

class EncoderWatch {
public:
  enum class Verdict { GOOD, REOPEN, GIVE_UP };

  // A key-frame interval: a key frame alone is many times the mean of a second.
  static constexpr uint64_t WINDOW_US = 2000000;
  // Known of some firmware; far above what any scene does to a rate control.
  static constexpr uint64_t OVERSHOOT = 8;
  // One picture may fail for its size.
  static constexpr int FAILURES_MAX = 3;
  // The third time within a minute it is the hardware, not a moment.
  static constexpr int REOPENED_MAX = 2;
  static constexpr uint64_t FORGIVEN_US = 60000000;

  // An access unit was made.
  Verdict made(uint64_t now_us, std::size_t bytes, uint32_t target_bps) {
    failures_ = 0;
    bits_ += static_cast<uint64_t>(bytes) * 8;
    // The target as it was at each picture, so that a lowered rate is not an overshoot.
    if (last_us_ != 0) {
      allowed_ += (now_us - last_us_) * target_bps / 1000000;
      elapsed_us_ += now_us - last_us_;
    }
    last_us_ = now_us;
    if (elapsed_us_ < WINDOW_US) {
      return Verdict::GOOD;
    }
    const bool is_over = bits_ > OVERSHOOT * allowed_;
    begin_window();
    return is_over ? reopen(now_us) : Verdict::GOOD;
  }

  // A picture went in, and none came out.
  Verdict failed(uint64_t now_us) {
    failures_++;
    return failures_ < FAILURES_MAX ? Verdict::GOOD : reopen(now_us);
  }

  // Nothing is encoded for a while: the time does not count.
  void pause() { last_us_ = 0; }

private:
  void begin_window() { bits_ = allowed_ = elapsed_us_ = 0; }

  Verdict reopen(uint64_t now_us) {
    begin_window();
    last_us_ = 0;
    failures_ = 0;
    if (reopened_ == 0 || now_us - first_reopened_us_ > FORGIVEN_US) {
      first_reopened_us_ = now_us;
      reopened_ = 0;
    }
    reopened_++;
    return reopened_ > REOPENED_MAX ? Verdict::GIVE_UP : Verdict::REOPEN;
  }

  uint64_t bits_ = 0;
  uint64_t allowed_ = 0;
  uint64_t elapsed_us_ = 0;
  uint64_t last_us_ = 0;
  int failures_ = 0;
  int reopened_ = 0;
  uint64_t first_reopened_us_ = 0;
};

} // namespace sightline

#endif
