// The encoder's output buffers: each is lent to the stream and to the recorder at once, and is free again when both have given it back.
#ifndef SIGHTLINE_FRAME_POOL_HPP
#define SIGHTLINE_FRAME_POOL_HPP

#include "sightline.h"

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <new>

namespace sightline {

struct FrameSlot {
  uint8_t *data = nullptr;
  std::size_t room_bytes = 0;
  SightlineUnit unit{};
  uint64_t captured_us = 0;
  std::atomic<int> users{0};

  void retain() { users.fetch_add(1, std::memory_order_relaxed); }
  void release() { users.fetch_sub(1, std::memory_order_release); }
};

class FramePool {
public:
  // What gives the buffers their memory; null where there is none.
  using Allocate = void *(*)(std::size_t bytes);
  using Free = void (*)(void *memory);

  FramePool(Allocate allocate, Free free) : allocate_(allocate), free_(free) {}
  FramePool(const FramePool &) = delete;
  FramePool &operator=(const FramePool &) = delete;

  ~FramePool() {
    for (std::size_t at = 0; at < count_; at++) {
      free_(slots_[at].data);
    }
  }

  // Once. False: too little memory.
  bool reserve(std::size_t count, std::size_t bytes_each) {
    slots_.reset(new (std::nothrow) FrameSlot[count]);
    for (; slots_ != nullptr && count_ < count; count_++) {
      slots_[count_].data = static_cast<uint8_t *>(allocate_(bytes_each));
      slots_[count_].room_bytes = bytes_each;
      if (slots_[count_].data == nullptr) {
        return false;
      }
    }
    return slots_ != nullptr;
  }

  // A free buffer, with one user: the caller, of whom there is one thread. Null: all are lent.
  FrameSlot *take() {
    for (std::size_t at = 0; at < count_; at++) {
      int none = 0;
      if (slots_[at].users.compare_exchange_strong(none, 1, std::memory_order_acquire)) {
        return &slots_[at];
      }
    }
    return nullptr;
  }

private:
  Allocate allocate_;
  Free free_;
  std::unique_ptr<FrameSlot[]> slots_;
  std::size_t count_ = 0;
};

// What one user of the frames may have: after a frame that it did not get, nothing but a key frame is of use to it.
class GopGate {
public:
  // True: the frame is for this user. `has_room`: it could take it.
  bool pass(bool is_keyframe, bool has_room) {
    needs_keyframe_ = (needs_keyframe_ && !is_keyframe) || !has_room;
    return !needs_keyframe_;
  }

  bool needs_keyframe() const { return needs_keyframe_; }
  // A frame was made that this user did not see.
  void miss() { needs_keyframe_ = true; }

private:
  bool needs_keyframe_ = true;
};

} // namespace sightline

#endif
