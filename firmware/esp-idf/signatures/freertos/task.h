/* What Sightline uses of components/freertos/FreeRTOS-Kernel/include/freertos/task.h, where the two notifications are macros, declared by hand. Of espressif/esp-idf, v5.5.1. */
#pragma once

#include "freertos/FreeRTOS.h"

typedef struct tskTaskControlBlock *TaskHandle_t;

#ifdef __cplusplus
extern "C" {
#endif
TaskHandle_t xTaskGetCurrentTaskHandle(void);
BaseType_t xTaskNotifyGive(TaskHandle_t xTaskToNotify);
uint32_t ulTaskNotifyTake(BaseType_t xClearCountOnExit, TickType_t xTicksToWait);
#ifdef __cplusplus
}
#endif
