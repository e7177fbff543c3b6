// SPDX-License-Identifier: Apache-2.0
#include "kernels/plugin/tuned_schedules.h"

#include <fmt/format.h>

#include <cstdlib>

#include "kernels/legalize.h"
#include "kernels/render/render.h"

namespace bp::kernels {
namespace {

uint64_t fnv(std::string_view text, uint64_t hash = 0xcbf29ce484222325u) {
  for (const char c : text) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3u;
  return hash;
}

// One file a device: its name as far as file names go, and a hash of all that names it.
std::string path_in(const std::string& folder, const Device& device) {
  if (folder.empty()) return {};
  std::string name;
  for (const char c : device.caps.name) {
    const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
    if (plain) name += c;
    if (!plain && !name.empty() && name.back() != '-') name += '-';
    if (name.size() == 48) break;
  }
  return fmt::format("{}/{}.{:016x}.jsonl", folder, name, fnv(device.identity));
}

std::string choice_key(const Tunable& tunable) {
  return fmt::format("{} {} | {}", tunable.family, tunable.key, describe(tunable.standard));
}

// All integers of the standard, from a record.
Result<ScheduleValues> values_in(const TuningRecord& record, const ScheduleValues& standard) {
  ScheduleValues out = standard;
  for (NamedInteger& value : out) {
    const auto stored = record.integer(value.name);
    if (!stored || *stored < 0 || *stored > UINT32_MAX) {
      return error(Code::kCorrupt, "'{}' is missing or no schedule's", value.name);
    }
    value.value = static_cast<uint32_t>(*stored);
  }
  return out;
}

bool is_ignored() {
  const char* const said = std::getenv("BACKPLANE_TUNED");
  return said != nullptr && std::string_view(said) == "0";
}

}  // namespace

Status check_launches(const Device& device, const std::vector<TrialLaunch>& launches) {
  for (const TrialLaunch& launch : launches) {
    BP_TRY(legalize(launch.kernel, device.caps));
    if (launch.grid_x > device.max_grid[0] || launch.grid_y > device.max_grid[1]) {
      return error(Code::kFailedPrecondition, "a grid of {} x {}; the device has {} x {}",
                   launch.grid_x, launch.grid_y, device.max_grid[0], device.max_grid[1]);
    }
  }
  return {};
}

TunedSchedules::TunedSchedules(const Device& device, const std::string& folder)
    : device_(device), store_(path_in(folder, device)), is_ignored_(is_ignored()) {}

std::string TunedSchedules::code_key(const Tunable& tunable, const ScheduleValues& values) {
  return fmt::format("{} | {}", tunable.key, describe(values));
}

Result<std::string> TunedSchedules::identity() {
  if (!identity_.empty()) return identity_;
  std::string compiler;
  const bp_bytes_fn take = [](void* user, const void* data, uint64_t bytes) {
    static_cast<std::string*>(user)->append(static_cast<const char*>(data), bytes);
  };
  BP_TRY(call("asking for the compiler's version", device_.module->compiler_id, device_.handle,
              take, static_cast<void*>(&compiler)));
  identity_ = fmt::format("{} | {}", device_.identity, compiler);
  return identity_;
}

// An edited kernel renders to another text, so what was measured before is not found.
Result<std::string> TunedSchedules::store_key(const Tunable& tunable) {
  std::string& key = store_keys_[choice_key(tunable)];
  if (!key.empty()) return key;
  uint64_t hash = fnv("");
  for (const TrialLaunch& launch : BP_TRY(tunable.launches(tunable.standard))) {
    const Kernel legal = BP_TRY(legalize(launch.kernel, device_.caps));
    hash = fnv(BP_TRY(render(legal, device_.caps)), hash);
  }
  key =
      fmt::format("{} | {} | {:016x} | {}", tunable.family, tunable.key, hash, BP_TRY(identity()));
  return key;
}

void TunedSchedules::drop(const std::string& key, const std::string& title, const Status& why) {
  glue::log(device_.host, BP_LOG_WARNING, "the tuned schedule of %s is dropped: %s", title.c_str(),
            std::string(why.message()).c_str());
  const Status erased = store_.erase(key);
  if (!erased.ok()) {
    glue::log(device_.host, BP_LOG_WARNING, "%s", std::string(erased.message()).c_str());
  }
}

ScheduleValues TunedSchedules::look_up(const Tunable& tunable) {
  const std::string here = choice_key(tunable);
  if (const auto found = chosen_.find(here); found != chosen_.end()) return found->second.values;
  Choice& choice = chosen_[here] = {tunable.standard, {}};
  const Result<std::string> key = store_key(tunable);
  if (!key.ok()) return choice.values;  // the planner will be told why
  choice.store_key = *key;
  const auto record = store_.find(*key);
  if (!record) return choice.values;
  const auto stored = [&]() -> Result<ScheduleValues> {
    ScheduleValues values = BP_TRY(values_in(*record, tunable.standard));
    if (values == tunable.standard) return values;
    BP_TRY(check_launches(device_, BP_TRY(tunable.launches(values))));
    return values;
  };
  const Result<ScheduleValues> values = stored();
  if (!values.ok()) {
    drop(*key, tunable.title, values.status());
    return choice.values;
  }
  choice.values = *values;
  if (*values != tunable.standard) by_code_.emplace(code_key(tunable, *values), here);
  return choice.values;
}

ScheduleValues TunedSchedules::choose(const Tunable& tunable) {
  const std::lock_guard lock(mutex_);
  // Nothing tuned costs nothing.
  if (is_ignored_ || (chosen_.empty() && store_.empty())) return tunable.standard;
  return look_up(tunable);
}

std::optional<TuningRecord> TunedSchedules::known(const Tunable& tunable) {
  const std::lock_guard lock(mutex_);
  if (store_.empty()) return std::nullopt;
  look_up(tunable);  // evicts what is no good
  const Result<std::string> key = store_key(tunable);
  return key.ok() ? store_.find(*key) : std::nullopt;
}

Status TunedSchedules::keep(const Tunable& tunable, const ScheduleValues& values,
                            TuningRecord measured) {
  const std::lock_guard lock(mutex_);
  const std::string key = BP_TRY(store_key(tunable)), here = choice_key(tunable);
  chosen_[here] = {values, key};
  if (values != tunable.standard) by_code_.emplace(code_key(tunable, values), here);
  for (const NamedInteger& value : values) measured.set(value.name, int64_t{value.value});
  return store_.put(key, std::move(measured));
}

bool TunedSchedules::evict(const std::string& code_key, const Status& why) {
  const std::lock_guard lock(mutex_);
  bool any = false;
  // Passes of different sizes may have been given the same kernel.
  const auto [first, last] = by_code_.equal_range(code_key.substr(0, code_key.find(" + ")));
  for (auto code = first; code != last; ++code) {
    const auto found = chosen_.find(code->second);
    if (found == chosen_.end()) continue;
    drop(found->second.store_key, code_key, why);
    chosen_.erase(found);  // nothing is stored any more, so the next look is for the standard
    any = true;
  }
  by_code_.erase(first, last);
  return any;
}

}  // namespace bp::kernels
