// SPDX-License-Identifier: Apache-2.0
// Schedules as lists of named integers: what a tuner tries, stores and shows, without knowing the
// families.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "kernels/library/attention.h"
#include "kernels/library/gemm.h"
#include "kernels/library/gemv.h"
#include "kernels/library/norm.h"

namespace bp::kernels {

struct NamedInteger {
  std::string_view name;  // a literal of this header
  uint32_t value = 0;
  friend bool operator==(const NamedInteger&, const NamedInteger&) = default;
};
// In the order of the family's fields, and all of them.
using ScheduleValues = std::vector<NamedInteger>;

template <class Schedule>
struct ScheduleField {
  std::string_view name;
  uint32_t Schedule::*member;
};

inline constexpr ScheduleField<GemvSchedule> kGemvFields[] = {
    {"threads", &GemvSchedule::threads},
    {"lanes", &GemvSchedule::lanes_per_row},
    {"rows", &GemvSchedule::rows_per_thread},
    {"unroll", &GemvSchedule::unroll},
};
inline constexpr ScheduleField<GemmSchedule> kGemmFields[] = {
    {"tile_tokens", &GemmSchedule::tile_tokens},
    {"tile_rows", &GemmSchedule::tile_rows},
    {"tile_columns", &GemmSchedule::tile_columns},
    {"thread_tokens", &GemmSchedule::thread_tokens},
    {"thread_rows", &GemmSchedule::thread_rows},
    {"stages", &GemmSchedule::stages},
    {"pad", &GemmSchedule::pad},
    {"matrix", &GemmSchedule::matrix},
};
inline constexpr ScheduleField<AttentionSchedule> kAttentionFields[] = {
    {"threads", &AttentionSchedule::threads}, {"heads", &AttentionSchedule::heads_per_group},
    {"splits", &AttentionSchedule::splits},   {"joins", &AttentionSchedule::joins},
    {"keys", &AttentionSchedule::keys},
};
inline constexpr ScheduleField<NormSchedule> kNormFields[] = {
    {"threads", &NormSchedule::threads},
};

inline std::span<const ScheduleField<GemvSchedule>> fields_of(const GemvSchedule*) {
  return kGemvFields;
}
inline std::span<const ScheduleField<GemmSchedule>> fields_of(const GemmSchedule*) {
  return kGemmFields;
}
inline std::span<const ScheduleField<AttentionSchedule>> fields_of(const AttentionSchedule*) {
  return kAttentionFields;
}
inline std::span<const ScheduleField<NormSchedule>> fields_of(const NormSchedule*) {
  return kNormFields;
}

template <class Schedule>
ScheduleValues values_of(const Schedule& schedule) {
  ScheduleValues out;
  for (const auto& field : fields_of(&schedule))
    out.push_back({field.name, schedule.*field.member});
  return out;
}

// Fields without a value keep that of a new Schedule.
template <class Schedule>
Schedule schedule_of(const ScheduleValues& values) {
  Schedule out;
  for (const auto& field : fields_of(&out)) {
    for (const NamedInteger& value : values) {
      if (value.name == field.name) out.*field.member = value.value;
    }
  }
  return out;
}

// "threads 128, lanes 32, rows 2, unroll 2"
inline std::string describe(const ScheduleValues& values) {
  std::string out;
  for (const NamedInteger& value : values) {
    if (!out.empty()) out += ", ";
    out.append(value.name).append(" ").append(std::to_string(value.value));
  }
  return out;
}

}  // namespace bp::kernels
