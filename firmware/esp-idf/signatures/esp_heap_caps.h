/* What Sightline uses of components/heap/include/esp_heap_caps.h, declared by hand. Of espressif/esp-idf, v5.5.1. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#define MALLOC_CAP_SPIRAM (1 << 10)

#ifdef __cplusplus
extern "C" {
#endif
void *heap_caps_aligned_alloc(size_t alignment, size_t size, uint32_t caps);
void heap_caps_free(void *ptr);
#ifdef __cplusplus
}
#endif
