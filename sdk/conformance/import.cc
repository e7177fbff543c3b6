// SPDX-License-Identifier: Apache-2.0
// bp.memory/1: memory of the host, and ranges of files, that a device uses in place.
#include <sys/mman.h>
#include <unistd.h>

#include <cstring>

#include "sdk/conformance/check.h"
#include "sdk/conformance/older_caller.h"
#include "sdk/conformance/queue.h"

namespace bp::conformance {
namespace {

// Memory of a file without a name, mapped; unmapped and closed by the destructor.
class MappedRange {
 public:
  static Result<MappedRange> create(const std::vector<std::byte>& content) {
    MappedRange out;
    out.bytes_ = content.size();
    out.descriptor_ = memfd_create("backplane-conformance", MFD_CLOEXEC);
    BP_EXPECT(out.descriptor_ >= 0, "the system gives no anonymous file");
    const ssize_t written = ::write(out.descriptor_, content.data(), content.size());
    BP_EXPECT(written == static_cast<ssize_t>(content.size()), "a file could not be written");
    void* memory = mmap(nullptr, out.bytes_, PROT_READ, MAP_SHARED, out.descriptor_, 0);
    BP_EXPECT(memory != MAP_FAILED, "a file could not be mapped");
    out.memory_ = memory;
    return out;
  }
  MappedRange(MappedRange&& other) noexcept
      : memory_(std::exchange(other.memory_, nullptr)),
        bytes_(other.bytes_),
        descriptor_(std::exchange(other.descriptor_, -1)) {}
  MappedRange& operator=(MappedRange&&) = delete;
  ~MappedRange() {
    if (memory_ != nullptr) munmap(memory_, bytes_);
    if (descriptor_ >= 0) close(descriptor_);
  }
  bp_import import_of() const {
    bp_import what{};
    what.size = sizeof what;
    what.kind = BP_IMPORT_FILE_RANGE;
    what.flags = BP_IMPORT_READ_ONLY;
    what.fd = descriptor_;
    what.pointer = memory_;
    what.length = bytes_;
    return what;
  }

 private:
  MappedRange() = default;
  void* memory_ = nullptr;
  size_t bytes_ = 0;
  int descriptor_ = -1;
};

Result<bp_import_support> support_of(const Context& context, const bp_import& what) {
  bp_import_support out{};
  out.size = sizeof out;
  BP_TRY(
      context.call("query_import", context.memory_api().query_import, context.device, &what, &out));
  BP_EXPECT(out.verdict >= BP_IMPORT_NO && out.verdict <= BP_IMPORT_NATIVE,
            "query_import: verdict {}", out.verdict);
  BP_EXPECT((out.pointer_alignment & (out.pointer_alignment - 1)) == 0,
            "query_import: an alignment of {}", out.pointer_alignment);
  OlderCaller<bp_import_support> older(offsetof(bp_import_support, pointer_alignment));
  BP_TRY(context.call("query_import", context.memory_api().query_import, context.device, &what,
                      older.get()));
  BP_EXPECT(older.is_intact(), "query_import wrote behind a smaller caller's size");
  return out;
}

Result<Buffer> import_memory(const Context& context, const bp_import& what) {
  bp_buffer* handle = nullptr;
  BP_TRY(context.call("import", context.memory_api().import, context.device, &what, &handle));
  BP_EXPECT(handle != nullptr, "import returned OK and no buffer");
  return Buffer(&context.memory_api(), handle, what.length);
}

constexpr uint64_t kPage = 65536;  // a multiple of every page size in use
constexpr uint64_t kBytes = 3 * kPage;
const char* const kVerdicts[] = {"NO", "COPY", "SLOW", "NATIVE"};

Verdict imports_host_memory(Context& context) {
  std::vector<std::byte> storage(kBytes + kPage);
  void* pointer = storage.data();
  size_t space = storage.size();
  std::align(kPage, kBytes, pointer, space);
  const std::vector<std::byte> wanted = pattern(kBytes, 21);
  std::memcpy(pointer, wanted.data(), kBytes);
  bp_import what{};
  what.size = sizeof what;
  what.kind = BP_IMPORT_HOST_POINTER;
  what.pointer = pointer;
  what.length = kBytes;
  const bp_import_support support = BP_TRY(support_of(context, what));
  const char* const verdict = kVerdicts[support.verdict];
  if (support.verdict < BP_IMPORT_SLOW) return skip("query_import says {}", verdict);
  BP_EXPECT(support.pointer_alignment <= kPage, "needs an alignment of {}",
            support.pointer_alignment);
  Queue queue = BP_TRY(Queue::open(context));
  {
    const Buffer buffer = BP_TRY(import_memory(context, what));
    BP_TRY(expect_bytes(BP_TRY(queue.content(buffer)), wanted, "what the device sees"));
    // In place: what the device writes, the host finds in its own memory.
    const std::vector<std::byte> patch = pattern(5'003, 22);
    BP_TRY(queue.write(buffer, kPage - 17, patch));
    BP_TRY(queue.finish());
    context.memory_api().invalidate(buffer.handle(), 0, kBytes, nullptr);
    BP_TRY(expect_bytes({static_cast<std::byte*>(pointer) + kPage - 17, patch.size()}, patch,
                        "host memory after a write of the device"));
  }
  // Freed: the memory is the host's again, with its content.
  BP_TRY(expect_bytes({static_cast<std::byte*>(pointer), kPage - 17}, {wanted.data(), kPage - 17},
                      "host memory after free"));
  return pass("{}, in place, alignment {}", verdict, support.pointer_alignment);
}

Verdict imports_read_only(Context& context) {
  const std::vector<std::byte> wanted = pattern(kBytes, 23);
  const MappedRange range = BP_TRY(MappedRange::create(wanted));
  bp_import what = range.import_of();
  bp_import_support support = BP_TRY(support_of(context, what));
  if (support.verdict < BP_IMPORT_SLOW) {
    what.kind = BP_IMPORT_HOST_POINTER;
    support = BP_TRY(support_of(context, what));
  }
  const char* const verdict = kVerdicts[support.verdict];
  if (support.verdict < BP_IMPORT_SLOW) {
    bp_buffer* handle = nullptr;
    const bp_status status = context.memory_api().import(context.device, &what, &handle, nullptr);
    BP_TRY(expect_refusal(status, "import of what query_import declined"));
    return skip("query_import says {} for a mapped file", verdict);
  }
  Queue queue = BP_TRY(Queue::open(context));
  const Buffer buffer = BP_TRY(import_memory(context, what));
  BP_TRY(expect_bytes(BP_TRY(queue.content(buffer)), wanted, "a mapped file on the device"));
  const Buffer copy = BP_TRY(context.allocate(kBytes));
  BP_TRY(queue.copy(copy, 0, buffer, 0, kBytes));
  BP_TRY(expect_bytes(BP_TRY(queue.content(copy)), wanted, "a copy of a mapped file"));
  BP_TRY(
      expect_refusal(context.stream_api().fill(queue.stream(), buffer.handle(), 0, 64, 0, nullptr),
                     "a fill of memory that was imported read-only"));
  BP_TRY(expect_bytes(BP_TRY(queue.content(buffer)), wanted, "the file after a refused fill"));
  return pass("{}, a write into it is refused", verdict);
}

Verdict declines_what_it_cannot_import(Context& context) {
  bp_import what{};
  what.size = sizeof what;
  what.kind = 4711;
  what.pointer = &what;
  what.length = sizeof what;
  bp_import_support support{};
  support.size = sizeof support;
  const bp_status status =
      context.memory_api().query_import(context.device, &what, &support, nullptr);
  BP_EXPECT(status != BP_OK || support.verdict < BP_IMPORT_SLOW,
            "query_import takes memory of an unknown kind");
  bp_buffer* handle = nullptr;
  BP_TRY(expect_refusal(context.memory_api().import(context.device, &what, &handle, nullptr),
                        "import of an unknown kind"));
  return pass("an unknown kind is declined");
}

}  // namespace

void add_import_checks(std::vector<Check>& out) {
  using N = Check::Needs;
  out.push_back({"memory.import.pointer", N::kDevice,
                 "host memory in place: the device sees it, the host sees what the device writes",
                 imports_host_memory});
  out.push_back({"memory.import.file", N::kDevice,
                 "a mapped file, read-only: content seen, writes refused", imports_read_only});
  out.push_back({"memory.import.unknown", N::kDevice, "an unknown kind of import is declined",
                 declines_what_it_cannot_import});
}

}  // namespace bp::conformance
