// A recording as FLV files of some minutes each, by stdio alone: each begins with a key frame, and what was synced is whole whenever the power goes.
//
// Files are 00000001.FLV, 00000002.FLV …: names that every FAT has, whose order is that of the recording, with or without a clock.
#ifndef SIGHTLINE_FLV_FILES_HPP
#define SIGHTLINE_FLV_FILES_HPP

#include "sightline.h"

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <functional>
#include <memory>
#include <string>

namespace sightline {

struct RecordingSettings {
  std::string directory; // is there already
  uint32_t file_sec = 300;
  uint32_t sync_sec = 2;
  uint64_t free_bytes_min = 0; // the oldest files go where less is free
  // Bytes that are free where the directory lies; 0: it can't be said, and nothing is removed.
  std::function<uint64_t()> free_bytes;
};

class FlvFiles {
public:
  explicit FlvFiles(RecordingSettings settings) : settings_(std::move(settings)) {}
  FlvFiles(const FlvFiles &) = delete;
  FlvFiles &operator=(const FlvFiles &) = delete;
  ~FlvFiles() { finish(); }

  // Writes one access unit: `bytes` are `unit.length` bytes, as sightline_unit_read found them. Until a key frame comes nothing is written. False: the file can't be written,
  // and was ended; the next key frame begins another.
  bool write(const SightlineUnit &unit, const uint8_t *bytes, uint64_t captured_us);
  // Ends the file that is open.
  void finish();

  // Of the file that is being written, or was last.
  const std::string &path() const { return path_; }

private:
  struct Closer {
    void operator()(std::FILE *file) const { std::fclose(file); }
  };

  bool begin(const SightlineUnit &unit, uint64_t captured_us);
  bool write_parts(const SightlineUnit &unit, const uint8_t *bytes, uint32_t dts_ms);
  bool put(const void *bytes, std::size_t length) { return std::fwrite(bytes, 1, length, file_.get()) == length; }
  bool sync();
  bool fail();
  void make_room();
  uint32_t outermost_number(bool is_last) const;
  std::string path_of(uint32_t number) const;

  const RecordingSettings settings_;
  std::unique_ptr<char[]> buffer_; // of the file; outlives it
  std::unique_ptr<std::FILE, Closer> file_;
  std::string path_;
  uint32_t number_ = 0;
  SightlineUnit config_{}; // the last that had a record
  uint64_t began_us_ = 0;
  uint64_t synced_us_ = 0;
};

} // namespace sightline

#endif
