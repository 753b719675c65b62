// Records a clip as the camera does, at the clip's times but as fast as the disk takes it.
//
//     record CLIP DIRECTORY FILE_SECONDS FREE_BYTES...
//
// FREE_BYTES: what is free at each question, in turn; the last for all further ones.
#include "clip.h"
#include "recorder.hpp"

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <unistd.h>
#include <vector>

using namespace sightline;

int main(int count, char **words) {
  Clip clip = clip_open(words[1]);
  RecordingSettings settings;
  settings.directory = words[2];
  settings.file_sec = static_cast<uint32_t>(std::atoi(words[3]));
  settings.free_bytes_min = 1000;
  std::vector<uint64_t> free_bytes;
  for (int word = 4; word < count; word++) {
    free_bytes.push_back(std::strtoull(words[word], nullptr, 10));
  }
  std::size_t asked = 0;
  if (!free_bytes.empty()) {
    settings.free_bytes = [&] { return free_bytes[asked + 1 < free_bytes.size() ? asked++ : free_bytes.size() - 1]; };
  }
  FramePool pool([](std::size_t bytes) { return aligned_alloc(128, bytes); }, [](void *memory) { std::free(memory); });
  if (!pool.reserve(Recorder::QUEUE_MAX + 2, 1 << 20)) {
    return 1;
  }
  unsigned keyframes = 0;
  {
    Recorder recorder(settings);
    recorder.start();
    for (uint32_t number = 0; number < clip.units; number++) {
      while (!recorder.has_room()) {
        usleep(1000);
      }
      FrameSlot *slot = pool.take();
      std::size_t length = 0;
      const uint8_t *bytes = clip_unit(&clip, number, &length);
        memcpy(slot->data, bytes, length);
      slot->captured_us = 77000000 + uint64_t{number} * 1000000 / clip.fps;
      if (sightline_unit_read(slot->data, length, &slot->unit) != SIGHTLINE_ERROR_OK) {
        return 2;
      }
      keyframes += slot->unit.is_keyframe;
      recorder.push(*slot);
      slot->release();
    }
  }
  std::printf("report: {\"units\":%u,\"keyframes\":%u,\"asked\":%zu}\n", static_cast<unsigned>(clip.units), keyframes, asked);
  std::free(clip.bytes);
}
