/* What Sightline uses of esp_video/include/esp_video_device.h, declared by hand. Of espressif/esp-video-components, esp_video 2.4.1, commit 67a555a. */
#pragma once

#define ESP_VIDEO_MIPI_CSI_DEVICE_NAME "/dev/video0"
