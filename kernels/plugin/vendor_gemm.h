// SPDX-License-Identifier: Apache-2.0
// The vendor's library of matrix products on one device (see backplane/plugin/gemm.h): whether it
// is to be used, products that were made ready, and where it proved faster than our own kernels.
//
// The environment variable BACKPLANE_VENDOR_GEMM, read when a device is bound, says how:
//   off   never
//   on    for prompts wherever it can compute what our kernels do, whatever is faster
//   auto  where it was measured to be faster (the default)
#pragma once

#include <map>
#include <mutex>
#include <optional>
#include <string>

#include "kernels/plugin/code_store.h"
#include "kernels/plugin/device.h"

namespace bp::kernels {

// Thread-safe. Lives as long as its device is bound.
class VendorGemm {
 public:
  enum class Mode { kOff, kOn, kAuto };

  // `folder` keeps choices between runs; empty: they are kept in memory alone.
  VendorGemm(const Device& device, std::string folder);
  ~VendorGemm();
  VendorGemm(const VendorGemm&) = delete;
  VendorGemm& operator=(const VendorGemm&) = delete;

  Mode mode() const noexcept { return mode_; }
  // Name and version of the library, empty when it is not used: switched off, not installed, or
  // unfit for recording. Opens it at the first call.
  const std::string& library();
  // A product for this shape, shared by all who ask. UNIMPLEMENTED when the library has none.
  Result<bp_gemm*> get(const bp_gemm_shape& shape);

  // Is the library to be used for what the key names? Unknown until somebody has chosen. Keys say
  // everything that decides about speed but for the device and the versions of library and driver.
  std::optional<bool> choice(const std::string& key);
  // What was measured holds for later processes too; a failure may pass, and holds for this one.
  enum class Because { kMeasured, kFailed };
  void choose(const std::string& key, bool use_library, Because because);
  // Held while two candidates run against each other, so that trials do not disturb each other.
  std::mutex& trial() noexcept { return trial_; }

 private:
  std::string stored_key(const std::string& key);
  void open();
  Status prepare(const bp_gemm_shape& shape, bp_gemm** out);

  const Device& device_;
  const Mode mode_;
  std::mutex trial_;
  std::mutex mutex_;  // guards what follows
  bool asked_ = false;
  std::string library_;
  std::map<std::string, bp_gemm*> products_;
  std::map<std::string, bool> choices_;
  std::string device_id_;
  CodeStore store_;
};

}  // namespace bp::kernels
