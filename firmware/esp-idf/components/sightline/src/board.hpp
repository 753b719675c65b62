// The chip's clocks and its noise.
#ifndef SIGHTLINE_BOARD_HPP
#define SIGHTLINE_BOARD_HPP

#include <cstdint>

namespace sightline {

// Microseconds since the start; never runs backwards.
uint64_t clock_us();

// Microseconds since 1970; near 0 until SNTP has set it.
int64_t wall_clock_us();

uint64_t random_bits();

} // namespace sightline

#endif
