// SPDX-License-Identifier: Apache-2.0
#include "core/base/status.h"

namespace bp {

struct Status::Failure {
  Code code;
  int64_t native = 0;
  std::string message;
};

const char* code_name(Code code) noexcept {
  switch (code) {
    case Code::kOk:
      return "OK";
    case Code::kCancelled:
      return "CANCELLED";
    case Code::kInvalidArgument:
      return "INVALID_ARGUMENT";
    case Code::kDeadline:
      return "DEADLINE";
    case Code::kNotFound:
      return "NOT_FOUND";
    case Code::kDenied:
      return "DENIED";
    case Code::kExhausted:
      return "EXHAUSTED";
    case Code::kFailedPrecondition:
      return "FAILED_PRECONDITION";
    case Code::kUnimplemented:
      return "UNIMPLEMENTED";
    case Code::kUnavailable:
      return "UNAVAILABLE";
    case Code::kCorrupt:
      return "CORRUPT";
    case Code::kDeviceLost:
      return "DEVICE_LOST";
    case Code::kIncompatible:
      return "INCOMPATIBLE";
    case Code::kInternal:
      return "INTERNAL";
  }
  return "INTERNAL";
}

// Shared by every failure that could not be allocated; never freed and never changed.
Status::Failure* Status::out_of_memory() noexcept {
  static Failure failure{Code::kExhausted, 0, {}};
  return &failure;
}

Status::Status(Code code, std::string_view message) noexcept {
  if (code == Code::kOk) return;
  try {
    failure_ = new Failure{code, 0, std::string(message)};
  } catch (...) {
    failure_ = out_of_memory();
  }
}

Status::Status(const Status& other) noexcept {
  if (other.failure_ == nullptr) return;
  try {
    failure_ = new Failure(*other.failure_);
  } catch (...) {
    failure_ = out_of_memory();
  }
}

Status::~Status() {
  if (failure_ != nullptr && failure_ != out_of_memory()) delete failure_;
}

Code Status::code() const noexcept {
  return failure_ == nullptr ? Code::kOk : failure_->code;
}

std::string_view Status::message() const noexcept {
  if (failure_ == nullptr) return {};
  if (failure_ == out_of_memory()) return "out of memory";
  return failure_->message;
}

int64_t Status::native() const noexcept {
  return failure_ == nullptr ? 0 : failure_->native;
}

Status& Status::set_native(int64_t number) noexcept {
  if (failure_ != nullptr && failure_ != out_of_memory()) failure_->native = number;
  return *this;
}

void Status::prepend(std::string_view context) {
  if (failure_ == out_of_memory()) return;
  std::string longer;
  longer.reserve(context.size() + 2 + failure_->message.size());
  longer.append(context).append(": ").append(failure_->message);
  failure_->message.swap(longer);
}

std::string Status::to_string() const {
  if (ok()) return "OK";
  std::string text(code_name(code()));
  text.append(": ").append(message());
  return text;
}

}  // namespace bp
