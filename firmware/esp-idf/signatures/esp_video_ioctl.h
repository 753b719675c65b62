/* What Sightline uses of esp_video/include/esp_video_ioctl.h; linux/videodev2.h is the host's, from which esp_video's comes, declared by hand. Of espressif/esp-video-components, esp_video 2.4.1, commit 67a555a. */
#pragma once

#include <linux/videodev2.h>
#include <sys/time.h>

#define VIDIOC_S_DQBUF_TIMEOUT _IOWR('V', BASE_VIDIOC_PRIVATE + 6, struct timeval)
