// SPDX-License-Identifier: Apache-2.0
// bp.stream/1: recorded work.
#include <cstring>

#include "sdk/conformance/check.h"
#include "sdk/conformance/queue.h"

namespace bp::conformance {
namespace {

Verdict replays_what_was_recorded(Context& context) {
  const bp_stream_api& api = context.stream_api();
  Queue queue = BP_TRY(Queue::open(context));
  constexpr uint64_t kBytes = 65'536;
  const Buffer a = BP_TRY(context.allocate(kBytes));
  const Buffer b = BP_TRY(context.allocate(kBytes));
  BP_TRY(queue.fill(a, 0, kBytes, 1));
  BP_TRY(queue.fill(b, 0, kBytes, 1));
  BP_TRY(queue.finish());
  const bp_status begun = api.capture_begin(queue.stream(), nullptr);
  if (begun == BP_UNIMPLEMENTED) return skip("capture is not offered");
  BP_TRY(expect_status(begun, BP_OK, "capture_begin"));
  BP_TRY(queue.copy(b, 0, a, 0, kBytes / 2));
  BP_TRY(queue.fill(b, kBytes / 2, kBytes / 2, 7));
  bp_recording* recording = nullptr;
  BP_TRY(context.call("capture_end", api.capture_end, queue.stream(), &recording));
  BP_EXPECT(recording != nullptr, "capture_end returned OK and no recording");
  const auto word_at = [&](uint64_t offset) -> Result<uint32_t> {
    uint32_t word = 0;
    BP_TRY(queue.read(std::as_writable_bytes(std::span(&word, 1)), b, offset));
    BP_TRY(queue.finish());
    return word;
  };
  const Status result = [&]() -> Status {
    const uint32_t untouched = BP_TRY(word_at(kBytes - 4));
    BP_EXPECT(untouched == 1, "recorded work ran while it was recorded");
    for (uint32_t round = 2; round < 6; ++round) {
      BP_TRY(queue.fill(a, 0, kBytes, round));
      BP_TRY(queue.fill(b, kBytes / 2, kBytes / 2, 0));
      BP_TRY(context.call("replay", api.replay, queue.stream(), recording));
      BP_EXPECT(BP_TRY(word_at(0)) == round, "replay {}: the copy did not run", round);
      BP_EXPECT(BP_TRY(word_at(kBytes - 4)) == 7, "replay {}: the fill did not run", round);
    }
    return {};
  }();
  const Status destroyed = context.call("recording_destroy", api.recording_destroy, recording);
  BP_TRY(Status(result));
  BP_TRY(Status(destroyed));
  return pass("4 replays in order with other work");
}

}  // namespace

void add_capture_checks(std::vector<Check>& out) {
  out.push_back({"stream.capture", Check::Needs::kDevice,
                 "recorded copies and fills run at each replay, not before",
                 replays_what_was_recorded});
}

}  // namespace bp::conformance
