// The parts of the component that decide without I/O: each line is true, or the program ends.
#include "encoder_watch.hpp"
#include "frame_pool.hpp"
#include "message_parts.hpp"
#include "pacing.hpp"

#include <cstdio>
#include <cstdlib>

using namespace sightline;
using Verdict = EncoderWatch::Verdict;

#define HOLDS(what)                                                                                                                                  \
  do {                                                                                                                                               \
    if (!(what)) {                                                                                                                                   \
      std::printf("%d: not true: %s\n", __LINE__, #what);                                                                                            \
      std::exit(1);                                                                                                                                  \
    }                                                                                                                                                \
  } while (false)

static bool add(MessageParts &parts, const std::string &topic, const std::string &data, std::size_t offset, std::size_t total) {
  return parts.add(topic.data(), topic.size(), data.data(), data.size(), offset, total);
}

static void messages_in_parts_are_put_together() {
  MessageParts parts;
  HOLDS(add(parts, "a", "whole", 0, 5) && parts.payload() == "whole" && parts.topic() == "a");
  HOLDS(!add(parts, "b", "in ", 0, 8));
  HOLDS(!add(parts, "", "two", 3, 8));
  HOLDS(add(parts, "", "!!", 6, 8) && parts.payload() == "in two!!" && parts.topic() == "b");
  HOLDS(add(parts, "empty", "", 0, 0) && parts.payload().empty());
  // Out of order, longer than it said, too long, after the end, and after a connection's end.
  HOLDS(!add(parts, "c", "x", 0, 3) && !add(parts, "", "z", 2, 3) && !add(parts, "", "y", 1, 3));
  HOLDS(!add(parts, "c", "xyz", 0, 2));
  HOLDS(!add(parts, "d", "x", 0, MessageParts::BYTES_MAX + 1) && !add(parts, "", std::string(MessageParts::BYTES_MAX, 'x'), 1, MessageParts::BYTES_MAX + 1));
  HOLDS(!add(parts, "e", "x", 0, 2));
  parts.clear();
  HOLDS(!add(parts, "", "y", 1, 2));
}

static void an_encoder_is_opened_again_and_given_up() {
  EncoderWatch watch;
  uint64_t now = 1000000;
  // A key frame of 20 times the mean in each two seconds is what encoders do.
  for (int picture = 0; picture < 250; picture++, now += 40000) {
    HOLDS(watch.made(now, picture % 50 == 0 ? 100000 : 4000, 1000000) == Verdict::GOOD);
  }
  int reopened = 0;
  for (int picture = 0; picture < 60; picture++, now += 40000) {
    reopened += watch.made(now, 9 * 5000, 1000000) == Verdict::REOPEN;
  }
  HOLDS(reopened == 1);
  HOLDS(watch.failed(now) == Verdict::GOOD && watch.failed(now) == Verdict::GOOD && watch.failed(now) == Verdict::REOPEN);
  HOLDS(watch.failed(now) == Verdict::GOOD && watch.made(now, 10, 1000000) == Verdict::GOOD);
  HOLDS(watch.failed(now) == Verdict::GOOD && watch.failed(now) == Verdict::GOOD && watch.failed(now) == Verdict::GIVE_UP);
  now += 61000000;
  HOLDS(watch.failed(now) == Verdict::GOOD && watch.failed(now) == Verdict::GOOD && watch.failed(now) == Verdict::REOPEN);
  // An hour's pause is no hour of rate.
  watch.pause();
  now += 3600000000ull;
  reopened = 0;
  for (int picture = 0; picture < 60; picture++, now += 40000) {
    reopened += watch.made(now, 9 * 5000, 1000000) == Verdict::REOPEN;
  }
  HOLDS(reopened == 1);
}

static void pictures_are_left_out_evenly() {
  for (const uint32_t fps : {5u, 15u, 20u, 25u, 30u}) {
    Pacing pacing;
    uint32_t taken = 0;
    for (uint64_t picture = 0; picture < 300; picture++) {
      // Ten seconds of a sensor at 30, whose clock is a little off and trembles.
      taken += pacing.is_due(1000000 + picture * 33300 + (picture % 3) * 400, fps);
    }
    HOLDS(taken >= fps * 10 - 1 && taken <= fps * 10 + 1);
  }
}

static void a_frame_is_free_when_all_have_given_it_back() {
  FramePool pool([](std::size_t bytes) { return std::malloc(bytes); }, [](void *memory) { std::free(memory); });
  HOLDS(pool.take() == nullptr && pool.reserve(2, 64));
  FrameSlot *one = pool.take(), *two = pool.take();
  HOLDS(one != nullptr && two != nullptr && one->data != two->data && pool.take() == nullptr);
  one->retain();
  one->release();
  HOLDS(pool.take() == nullptr);
  one->release();
  HOLDS(pool.take() == one);
}

static void after_a_gap_only_a_key_frame_is_of_use() {
  GopGate gate;
  HOLDS(gate.needs_keyframe() && !gate.pass(false, true) && gate.pass(true, true) && gate.pass(false, true));
  HOLDS(!gate.pass(false, false) && !gate.pass(false, true) && !gate.pass(true, false) && gate.pass(true, true) && gate.pass(false, true));
  gate.miss();
  HOLDS(!gate.pass(false, true) && gate.needs_keyframe());
}

int main() {
  messages_in_parts_are_put_together();
  an_encoder_is_opened_again_and_given_up();
  pictures_are_left_out_evenly();
  a_frame_is_free_when_all_have_given_it_back();
  after_a_gap_only_a_key_frame_is_of_use();
  std::printf("report: {\"parts\":5}\n");
}
