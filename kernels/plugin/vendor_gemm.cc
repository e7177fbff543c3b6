// SPDX-License-Identifier: Apache-2.0
#include "kernels/plugin/vendor_gemm.h"

#include <fmt/format.h>

#include <cstdlib>
#include <string_view>
#include <vector>

namespace bp::kernels {
namespace {

constexpr size_t kMaxProducts = 1u << 12;  // shapes of one device

VendorGemm::Mode mode_from_environment(const bp_host* host) {
  const char* const text = std::getenv("BACKPLANE_VENDOR_GEMM");
  const std::string_view said = text == nullptr ? "auto" : text;
  if (said == "off") return VendorGemm::Mode::kOff;
  if (said == "on") return VendorGemm::Mode::kOn;
  if (said != "auto" && !said.empty()) {
    glue::log(host, BP_LOG_WARNING,
              "BACKPLANE_VENDOR_GEMM is none of off, on and auto; using auto");
  }
  return VendorGemm::Mode::kAuto;
}

std::string key_of(const bp_gemm_shape& s) {
  return fmt::format("{}x{}x{} strides {} {} {} type {} accumulate {} workspace {}", s.tokens,
                     s.rows, s.columns, s.x_stride, s.w_stride, s.y_stride, s.y_type, s.accumulate,
                     s.workspace_bytes);
}

void append_text(void* user, const void* data, uint64_t bytes) {
  static_cast<std::string*>(user)->append(static_cast<const char*>(data), bytes);
}

}  // namespace

VendorGemm::VendorGemm(const Device& device, std::string folder)
    : device_(device), mode_(mode_from_environment(device.host)), store_(std::move(folder)) {}

VendorGemm::~VendorGemm() {
  for (const auto& [key, gemm] : products_) device_.gemm->release(gemm, nullptr);
}

void VendorGemm::open() {
  asked_ = true;
  if (mode_ == Mode::kOff || device_.gemm == nullptr) return;
  bp_gemm_info info{};
  info.size = sizeof info;
  const Status asked =
      call("asking for matrix products", device_.gemm->describe, device_.handle, &info);
  if (!asked.ok()) {
    // Most devices have none, which nobody needs to hear of; who insists on one does.
    const int level = mode_ == Mode::kOn ? BP_LOG_WARNING : BP_LOG_DEBUG;
    glue::log(device_.host, level, "prompts use our own kernels: %s", asked.to_string().c_str());
    return;
  }
  const std::string name(info.library, strnlen(info.library, sizeof info.library));
  if ((info.flags & BP_GEMM_CAPTURE_SAFE) == 0) {
    glue::log(device_.host, BP_LOG_DEBUG, "%s cannot be recorded and is not used", name.c_str());
    return;
  }
  library_ = name.empty() ? "a library without a name" : name;
}

const std::string& VendorGemm::library() {
  const std::lock_guard lock(mutex_);
  if (!asked_) open();
  return library_;
}

Result<bp_gemm*> VendorGemm::get(const bp_gemm_shape& shape) {
  const std::string key = key_of(shape);
  const std::lock_guard lock(mutex_);
  const auto found = products_.find(key);
  if (found != products_.end()) return found->second;
  if (products_.size() >= kMaxProducts) {
    return error(Code::kExhausted, "more than {} matrix products on one device", kMaxProducts);
  }
  // Its place is there before it is, so that it is not lost.
  bp_gemm*& gemm = products_[key];
  Status status = prepare(shape, &gemm);
  if (!status.ok()) {
    products_.erase(key);
    return status;
  }
  return gemm;
}

Status VendorGemm::prepare(const bp_gemm_shape& shape, bp_gemm** out) {
  bp_gemm* gemm = nullptr;
  BP_TRY(call("preparing a matrix product", device_.gemm->prepare, device_.handle, &shape, &gemm));
  uint64_t workspace = 0;
  Status status = call("asking for the workspace of a matrix product", device_.gemm->workspace,
                       gemm, &workspace);
  if (status.ok() && workspace > shape.workspace_bytes) {
    status = error(Code::kUnimplemented, "the product wants {} bytes of workspace, {} are there",
                   workspace, shape.workspace_bytes);
  }
  if (!status.ok()) {
    device_.gemm->release(gemm, nullptr);
    return status;
  }
  *out = gemm;
  return {};
}

// Expects the mutex to be held.
std::string VendorGemm::stored_key(const std::string& key) {
  if (device_id_.empty()) {
    (void)device_.module->compiler_id(device_.handle, &append_text, &device_id_, nullptr);
  }
  return fmt::format("choice 1\n{}\n{}\n{}\n{}", device_.caps.name, device_id_, library_, key);
}

std::optional<bool> VendorGemm::choice(const std::string& key) {
  const std::lock_guard lock(mutex_);
  const auto found = choices_.find(key);
  if (found != choices_.end()) return found->second;
  if (mode_ != Mode::kAuto) return std::nullopt;  // what was insisted on is checked anew
  const auto stored = store_.read(stored_key(key));
  if (!stored || stored->size() != 1) return std::nullopt;
  return choices_[key] = stored->front() == std::byte{1};
}

void VendorGemm::choose(const std::string& key, bool use_library, Because because) {
  const std::lock_guard lock(mutex_);
  choices_[key] = use_library;
  if (mode_ != Mode::kAuto || because == Because::kFailed) return;
  store_.write(stored_key(key), {use_library ? std::byte{1} : std::byte{0}});
}

}  // namespace bp::kernels
