#include "capture.hpp"

#include "esp_log.h"
#include "esp_video_device.h"
#include "esp_video_ioctl.h"
#include "linux/videodev2.h"

#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <unistd.h>

namespace sightline {

namespace {

const char *const TAG = "sightline";
// Thirty pictures of the slowest sensor setting: longer than that it has stopped.
constexpr long PICTURE_WAIT_SEC = 1;

template <class Request> bool ask(int device, unsigned long command, Request *request, const char *what) {
  if (ioctl(device, command, request) == 0) {
    return true;
  }
  ESP_LOGE(TAG, "%s refuses %s", ESP_VIDEO_MIPI_CSI_DEVICE_NAME, what);
  return false;
}

} // namespace

bool Capture::open() {
  device_ = ::open(ESP_VIDEO_MIPI_CSI_DEVICE_NAME, O_RDONLY);
  if (device_ < 0) {
    ESP_LOGE(TAG, "no %s: is the camera's cable in, and its sensor chosen in menuconfig (Espressif Camera Sensors Configurations)?",
             ESP_VIDEO_MIPI_CSI_DEVICE_NAME);
    return false;
  }
  v4l2_format format = {};
  format.type = V4L2_BUF_TYPE_VIDEO_CAPTURE;
  if (!ask(device_, VIDIOC_G_FMT, &format, "VIDIOC_G_FMT")) {
    return false;
  }
  width_ = format.fmt.pix.width;
  height_ = format.fmt.pix.height;
  format = {};
  format.type = V4L2_BUF_TYPE_VIDEO_CAPTURE;
  format.fmt.pix.width = width_;
  format.fmt.pix.height = height_;
  format.fmt.pix.pixelformat = V4L2_PIX_FMT_YUV420;
  timeval limit = {};
  limit.tv_sec = PICTURE_WAIT_SEC;
  return ask(device_, VIDIOC_S_FMT, &format, "YUV 4:2:0, which the encoder needs") &&
         ask(device_, VIDIOC_S_DQBUF_TIMEOUT, &limit, "VIDIOC_S_DQBUF_TIMEOUT") && request_buffers() && stream(true);
}

bool Capture::request_buffers() {
  v4l2_requestbuffers request = {};
  request.count = BUFFERS;
  request.type = V4L2_BUF_TYPE_VIDEO_CAPTURE;
  request.memory = V4L2_MEMORY_MMAP;
  if (!ask(device_, VIDIOC_REQBUFS, &request, "three buffers: is there PSRAM (CONFIG_SPIRAM)?")) {
    return false;
  }
  for (uint32_t index = 0; index < BUFFERS; index++) {
    v4l2_buffer buffer = {};
    buffer.type = V4L2_BUF_TYPE_VIDEO_CAPTURE;
    buffer.memory = V4L2_MEMORY_MMAP;
    buffer.index = index;
    if (!ask(device_, VIDIOC_QUERYBUF, &buffer, "VIDIOC_QUERYBUF")) {
      return false;
    }
    // esp_video gives null where it fails, Linux MAP_FAILED.
    void *memory = mmap(nullptr, buffer.length, PROT_READ | PROT_WRITE, MAP_SHARED, device_, static_cast<off_t>(buffer.m.offset));
    if (memory == nullptr || !ask(device_, VIDIOC_QBUF, &buffer, "VIDIOC_QBUF")) {
      return false;
    }
    buffers_[index] = static_cast<uint8_t *>(memory);
  }
  return true;
}

bool Capture::stream(bool is_on) {
  int type = V4L2_BUF_TYPE_VIDEO_CAPTURE;
  return is_on ? ask(device_, VIDIOC_STREAMON, &type, "VIDIOC_STREAMON") : ask(device_, VIDIOC_STREAMOFF, &type, "VIDIOC_STREAMOFF");
}

bool Capture::wait_for(Picture &picture) {
  v4l2_buffer buffer = {};
  buffer.type = V4L2_BUF_TYPE_VIDEO_CAPTURE;
  buffer.memory = V4L2_MEMORY_MMAP;
  if (ioctl(device_, VIDIOC_DQBUF, &buffer) != 0 || buffer.index >= BUFFERS) {
    return false;
  }
  picture = Picture{buffers_[buffer.index], buffer.bytesused, buffer.index};
  const bool is_whole = (buffer.flags & V4L2_BUF_FLAG_ERROR) == 0;
  if (!is_whole) {
    give_back(picture);
  }
  return is_whole;
}

void Capture::give_back(const Picture &picture) {
  v4l2_buffer buffer = {};
  buffer.type = V4L2_BUF_TYPE_VIDEO_CAPTURE;
  buffer.memory = V4L2_MEMORY_MMAP;
  buffer.index = picture.index;
  ask(device_, VIDIOC_QBUF, &buffer, "VIDIOC_QBUF");
}

// STREAMOFF takes the buffers back; they are asked for and queued anew.
bool Capture::restart() {
  ESP_LOGW(TAG, "no picture came from the sensor: it is started again");
  return stream(false) && request_buffers() && stream(true);
}

} // namespace sightline
