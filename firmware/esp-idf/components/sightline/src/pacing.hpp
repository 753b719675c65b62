// Leaves pictures out evenly, down to a number a second.
#ifndef SIGHTLINE_PACING_HPP
#define SIGHTLINE_PACING_HPP

#include <cstdint>

namespace sightline {

class Pacing {
public:
  // True: the picture that was captured now is to be encoded.
  bool is_due(uint64_t now_us, uint32_t fps) {
    const uint64_t interval_us = 1000000 / fps;
    // A sensor's clock is never ours: what comes a little early is on time.
    if (now_us + interval_us / 4 < next_us_) {
      return false;
    }
    // After a pause it begins anew; otherwise the beat is kept, so that 25 of 30 are 25.
    next_us_ = now_us > next_us_ + interval_us ? now_us + interval_us : next_us_ + interval_us;
    return true;
  }

private:
  uint64_t next_us_ = 0;
};

} // namespace sightline

#endif
