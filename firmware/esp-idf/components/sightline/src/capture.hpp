// Pictures of a MIPI-CSI sensor, by esp_video's V4L2 device.
#ifndef SIGHTLINE_CAPTURE_HPP
#define SIGHTLINE_CAPTURE_HPP

#include <array>
#include <cstddef>
#include <cstdint>

namespace sightline {

struct Picture {
  uint8_t *data;
  std::size_t bytes;
  uint32_t index;
};

class Capture {
public:
  // Two that are filled and encoded in turn, and one that esp_video keeps for the sensor where ESP_VIDEO_DISABLE_MIPI_CSI_DRIVER_BACKUP_BUFFER is set, as by default.
  static constexpr std::size_t BUFFERS = 3;

  // Opens the device after `sightline_sensor_start`, in the size that the sensor is set to. False: the log says why.
  bool open();
  uint32_t width() const { return width_; }
  uint32_t height() const { return height_; }

  // Waits for a picture, a second at most. False: none came.
  bool wait_for(Picture &picture);
  void give_back(const Picture &picture);
  // After pictures have stopped coming.
  bool restart();

private:
  bool request_buffers();
  bool stream(bool is_on);

  int device_ = -1;
  uint32_t width_ = 0;
  uint32_t height_ = 0;
  std::array<uint8_t *, BUFFERS> buffers_{};
};

} // namespace sightline

#endif
