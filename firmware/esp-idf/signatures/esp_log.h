/* What Sightline uses of components/log/include/esp_log.h, declared by hand. Of espressif/esp-idf, v5.5.1. */
#pragma once

/* As printf, so that the compiler compares words and numbers; on hosts it is. */
#include <stdio.h>

#define ESP_LOGE(tag, format, ...) printf("E %s: " format "\n", tag, ##__VA_ARGS__)
#define ESP_LOGW(tag, format, ...) printf("W %s: " format "\n", tag, ##__VA_ARGS__)
#define ESP_LOGI(tag, format, ...) printf("I %s: " format "\n", tag, ##__VA_ARGS__)
