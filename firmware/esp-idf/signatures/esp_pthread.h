/* What Sightline uses of components/pthread/include/esp_pthread.h, declared by hand. Of espressif/esp-idf, v5.5.1. */
#pragma once

#include "esp_err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct {
  size_t stack_size;
  size_t prio;
  bool inherit_cfg;
  const char *thread_name;
  int pin_to_core;
  uint32_t stack_alloc_caps;
} esp_pthread_cfg_t;

#ifdef __cplusplus
extern "C" {
#endif
esp_pthread_cfg_t esp_pthread_get_default_config(void);
esp_err_t esp_pthread_set_cfg(const esp_pthread_cfg_t *cfg);
#ifdef __cplusplus
}
#endif
