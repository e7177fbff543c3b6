// SPDX-License-Identifier: Apache-2.0
// Which schedule a kernel gets on this device: the one that was measured to be fastest, as long as
// everything that the measurement depended on is the same, else the standard one.
//
// A choice is made once for a kernel and then kept, so that an op is planned alike whenever it is
// planned; tuning in this process and eviction are what changes it. Stored schedules are checked as
// candidates are: what the builder or the device refuses is evicted and the standard used.
// Thread-safe.
#pragma once

#include <map>
#include <mutex>
#include <optional>
#include <string>

#include "kernels/plugin/device.h"
#include "kernels/plugin/tunable.h"
#include "kernels/plugin/tuning_store.h"

namespace bp::kernels {

// Does the device run these launches: built, legalized, and grids within its limits?
Status check_launches(const Device& device, const std::vector<TrialLaunch>& launches);

class TunedSchedules {
 public:
  // `folder` of the store; empty: what is tuned lasts as long as this object. The environment's
  // BACKPLANE_TUNED=0 leaves what is stored unused, for comparisons.
  TunedSchedules(const Device& device, const std::string& folder);

  ScheduleValues choose(const Tunable& tunable);
  // The name under which the kernel of a choice is known to the CodeLibrary. Planners append " + …"
  // for one that does something besides.
  static std::string code_key(const Tunable& tunable, const ScheduleValues& values);
  // What an earlier run found, if its schedule is still good.
  std::optional<TuningRecord> known(const Tunable& tunable);
  // From now on planners get `values`. `measured` is stored with them. The failure says why the
  // choice is not on disk; it holds for this object all the same.
  Status keep(const Tunable& tunable, const ScheduleValues& values, TuningRecord measured);
  // The code of a stored schedule did not compile or load: forget it. False when the kernel of that
  // name has its standard schedule.
  bool evict(const std::string& code_key, const Status& why);

 private:
  struct Choice {
    ScheduleValues values;
    std::string store_key;
  };
  // These need mutex_.
  ScheduleValues look_up(const Tunable& tunable);
  Result<std::string> store_key(const Tunable& tunable);
  Result<std::string> identity();
  void drop(const std::string& store_key, const std::string& title, const Status& why);

  const Device& device_;
  TuningStore store_;
  const bool is_ignored_;
  std::mutex mutex_;  // guards the following
  std::string identity_;
  std::map<std::string, Choice> chosen_;             // by kernel and standard schedule
  std::multimap<std::string, std::string> by_code_;  // code key to keys in chosen_, if not standard
  std::map<std::string, std::string> store_keys_;    // by kernel and standard schedule
};

}  // namespace bp::kernels
