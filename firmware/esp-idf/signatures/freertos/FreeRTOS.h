/* What Sightline uses of components/freertos/FreeRTOS-Kernel/include/freertos/FreeRTOS.h and projdefs.h, declared by hand. Of espressif/esp-idf, v5.5.1. */
#pragma once

#include <stdint.h>

typedef int BaseType_t;
typedef uint32_t TickType_t;

#define pdTRUE 1
#define portMAX_DELAY ((TickType_t)0xffffffffUL)
#define pdMS_TO_TICKS(ms) ((TickType_t)(ms))
