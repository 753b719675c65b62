#include "board.hpp"

#include "esp_random.h"
#include "esp_timer.h"

#include <sys/time.h>

namespace sightline {

uint64_t clock_us() { return static_cast<uint64_t>(esp_timer_get_time()); }

int64_t wall_clock_us() {
  timeval now = {};
  gettimeofday(&now, nullptr);
  return static_cast<int64_t>(now.tv_sec) * 1000000 + now.tv_usec;
}

uint64_t random_bits() {
  uint64_t bits = 0;
  esp_fill_random(&bits, sizeof bits);
  return bits;
}

} // namespace sightline
