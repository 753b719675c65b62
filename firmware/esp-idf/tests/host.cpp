// What the component has of the chip, on a host: clocks, noise, threads. No TLS: esp-tls is not here.
#include "board.hpp"
#include "thread.hpp"
#include "transport.hpp"

#include <sys/random.h>
#include <time.h>

namespace sightline {

static int64_t micros(clockid_t clock) {
  timespec now{};
  clock_gettime(clock, &now);
  return int64_t{now.tv_sec} * 1000000 + now.tv_nsec / 1000;
}

uint64_t clock_us() { return static_cast<uint64_t>(micros(CLOCK_MONOTONIC)); }

int64_t wall_clock_us() { return micros(CLOCK_REALTIME); }

uint64_t random_bits() {
  uint64_t bits = 0;
  return getrandom(&bits, sizeof bits, 0) == sizeof bits ? bits : clock_us();
}

void shape_next_thread(const ThreadShape &) {}

std::unique_ptr<Transport> make_tls() { return nullptr; }

} // namespace sightline
