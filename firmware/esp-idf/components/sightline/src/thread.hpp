// How the next thread of the calling one is made: FreeRTOS gives each its stack, priority and core at its birth.
#ifndef SIGHTLINE_THREAD_HPP
#define SIGHTLINE_THREAD_HPP

#include <cstddef>

namespace sightline {

struct ThreadShape {
  const char *name; // lives for ever
  std::size_t stack_bytes;
  int priority; // of FreeRTOS: the higher, the sooner
  int core;     // -1: any
};

// Counts for threads that the calling thread starts from now on, by std::thread and pthread_create.
void shape_next_thread(const ThreadShape &shape);

} // namespace sightline

#endif
