#include "thread.hpp"

#include "esp_pthread.h"

namespace sightline {

void shape_next_thread(const ThreadShape &shape) {
  esp_pthread_cfg_t config = esp_pthread_get_default_config();
  config.thread_name = shape.name;
  config.stack_size = shape.stack_bytes;
  config.prio = static_cast<std::size_t>(shape.priority);
  config.inherit_cfg = false;
  if (shape.core >= 0) {
    config.pin_to_core = shape.core;
  }
  // Refused where the stack is smaller than pthread's least: the thread then has the default one, which FreeRTOS watches.
  esp_pthread_set_cfg(&config);
}

} // namespace sightline
