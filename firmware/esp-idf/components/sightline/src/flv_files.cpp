#include "flv_files.hpp"

#include <cstdlib>
#include <cstring>
#include <dirent.h>
#include <new>
#include <unistd.h>

namespace sightline {

namespace {

// A card writes whole blocks fast, and pieces of them slowly: as much as one frame of the highest preset has.
constexpr std::size_t BUFFER_BYTES = 32 * 1024;
// As many digits as a name of eight has.
constexpr uint32_t NUMBER_MAX = 99999999;
constexpr std::size_t DIGITS = 8;

// The number of one of our files; 0: it is none.
uint32_t number_of(const char *name) {
  const bool is_ours = std::strlen(name) == DIGITS + 4 && std::strspn(name, "0123456789") == DIGITS &&
                       (std::strcmp(name + DIGITS, ".FLV") == 0 || std::strcmp(name + DIGITS, ".flv") == 0);
  return is_ours ? static_cast<uint32_t>(std::strtoul(name, nullptr, 10)) : 0;
}

} // namespace

bool FlvFiles::write(const SightlineUnit &unit, const uint8_t *bytes, uint64_t captured_us) {
  const bool is_due = file_ == nullptr || captured_us - began_us_ >= uint64_t{settings_.file_sec} * 1000000;
  if (unit.record_bytes > 0) {
    config_ = unit;
  }
  if (is_due && unit.is_keyframe) {
    finish();
    if (config_.record_bytes == 0) {
      return true;
    }
    if (!begin(config_, captured_us)) {
      return fail();
    }
  }
  if (file_ == nullptr) {
    return true;
  }
  if (!write_parts(unit, bytes, static_cast<uint32_t>((captured_us - began_us_) / 1000))) {
    return fail();
  }
  const bool is_sync_due = captured_us - synced_us_ >= uint64_t{settings_.sync_sec} * 1000000;
  if (is_sync_due) {
    synced_us_ = captured_us;
    if (!sync()) {
      return fail();
    }
    make_room();
  }
  return true;
}

void FlvFiles::finish() {
  if (file_ != nullptr) {
    sync();
  }
  file_.reset();
}

bool FlvFiles::begin(const SightlineUnit &unit, uint64_t captured_us) {
  if (number_ == 0) {
    number_ = outermost_number(true);
  }
  number_ = number_ < NUMBER_MAX ? number_ + 1 : 1;
  path_ = path_of(number_);
  make_room();
  file_.reset(std::fopen(path_.c_str(), "wb"));
  if (file_ == nullptr) {
    return false;
  }
  if (buffer_ == nullptr) {
    buffer_.reset(new (std::nothrow) char[BUFFER_BYTES]);
  }
  if (buffer_ != nullptr) {
    std::setvbuf(file_.get(), buffer_.get(), _IOFBF, BUFFER_BYTES);
  }
  began_us_ = synced_us_ = captured_us;
  uint8_t header[SIGHTLINE_FLV_SEQUENCE_HEADER_BYTES_MAX];
  std::size_t length = sightline_flv_file_header(header, sizeof header);
  if (!put(header, length)) {
    return false;
  }
  length = sightline_flv_sequence_header(&unit, 0, header, sizeof header);
  return put(header, length);
}

bool FlvFiles::write_parts(const SightlineUnit &unit, const uint8_t *bytes, uint32_t dts_ms) {
  uint8_t header[SIGHTLINE_FLV_FRAME_HEADER_BYTES];
  uint8_t trailer[SIGHTLINE_FLV_FRAME_TRAILER_BYTES];
  const bool has_header = sightline_flv_frame_header(&unit, dts_ms, 0, header, sizeof header) == sizeof header;
  const bool has_trailer = sightline_flv_frame_trailer(&unit, trailer, sizeof trailer) == sizeof trailer;
  return has_header && has_trailer && put(header, sizeof header) && put(bytes, unit.length) && put(trailer, sizeof trailer);
}

// On the card, with the file's length in its directory.
bool FlvFiles::sync() { return std::fflush(file_.get()) == 0 && fsync(fileno(file_.get())) == 0; }

bool FlvFiles::fail() {
  file_.reset();
  return false;
}

// Removes the oldest files until as much is free as shall be; the one that is written stays.
void FlvFiles::make_room() {
  while (settings_.free_bytes) {
    const uint64_t free_bytes = settings_.free_bytes();
    const uint32_t oldest = free_bytes > 0 && free_bytes < settings_.free_bytes_min ? outermost_number(false) : 0;
    if (oldest == 0 || oldest == number_ || std::remove(path_of(oldest).c_str()) != 0) {
      return;
    }
  }
}

// The highest number of a file, or the lowest; 0: there is none.
uint32_t FlvFiles::outermost_number(bool is_last) const {
  uint32_t found = 0;
  if (DIR *directory = opendir(settings_.directory.c_str())) {
    while (const dirent *entry = readdir(directory)) {
      const uint32_t number = number_of(entry->d_name);
      if (number != 0 && (found == 0 || (number > found) == is_last)) {
        found = number;
      }
    }
    closedir(directory);
  }
  return found;
}

std::string FlvFiles::path_of(uint32_t number) const {
  char name[DIGITS + 6];
  std::snprintf(name, sizeof name, "/%08u.FLV", static_cast<unsigned>(number % (NUMBER_MAX + 1)));
  return settings_.directory + name;
}

} // namespace sightline
