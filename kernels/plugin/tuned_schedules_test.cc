// SPDX-License-Identifier: Apache-2.0
// Choices: stored ones are used while everything they depend on is the same, and are evicted when
// they are no good.
#include "kernels/plugin/tuned_schedules.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <sstream>

#include "kernels/plugin/tunables.h"

namespace bp::kernels {
namespace {

std::string g_compiler = "compiler 1";

bp_status compiler_id(bp_device*, bp_bytes_fn out, void* user, bp_error*) {
  out(user, g_compiler.data(), g_compiler.size());
  return BP_OK;
}

class Tuned : public ::testing::Test {
 protected:
  void SetUp() override {
    g_compiler = "compiler 1";
    folder_ = std::filesystem::temp_directory_path() /
              ("backplane-tuned-" + std::to_string(::getpid()) + "-" +
               ::testing::UnitTest::GetInstance()->current_test_info()->name());
    std::filesystem::remove_all(folder_);
    module_.size = sizeof module_;
    module_.compiler_id = compiler_id;
    device_.module = &module_;
    device_.caps = *find_profile("cuda");
    device_.identity = "a card | sm_90 | driver 1";
    tunable_ = tunable_gemv(spec_, device_.caps, "gemv of a test");
    best_ = values_of(GemvSchedule{64, 16, 4, 1});
    ASSERT_NE(best_, tunable_.standard);
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  void keep(const ScheduleValues& values) {
    TunedSchedules tuned(device_, folder_.native());
    ASSERT_TRUE(tuned.keep(tunable_, values, {}).ok());
  }
  ScheduleValues chosen() { return TunedSchedules(device_, folder_.native()).choose(tunable_); }
  std::filesystem::path file() const {
    for (const auto& entry : std::filesystem::directory_iterator(folder_)) return entry.path();
    return {};
  }
  void replace_in_file(const std::string& from, const std::string& to) const {
    std::stringstream text;
    text << std::ifstream(file()).rdbuf();
    std::string changed = text.str();
    const size_t at = changed.find(from);
    ASSERT_NE(at, std::string::npos) << changed;
    changed.replace(at, from.size(), to);
    std::ofstream(file(), std::ios::trunc) << changed;
  }

  const GemvSpec spec_{.format = "q4_g32", .rows = 256, .columns = 1024};
  std::filesystem::path folder_;
  bp_module_api module_{};
  Device device_;
  Tunable tunable_;
  ScheduleValues best_;
};

TEST_F(Tuned, without_a_store_every_kernel_is_standard) {
  EXPECT_EQ(chosen(), tunable_.standard);
  EXPECT_FALSE(std::filesystem::exists(folder_));
}

TEST_F(Tuned, what_was_kept_is_used_here_and_in_the_next_process) {
  TunedSchedules tuned(device_, folder_.native());
  EXPECT_EQ(tuned.choose(tunable_), tunable_.standard);
  ASSERT_TRUE(tuned.keep(tunable_, best_, {}).ok());
  EXPECT_EQ(tuned.choose(tunable_), best_);
  EXPECT_EQ(chosen(), best_);
  EXPECT_NE(TunedSchedules::code_key(tunable_, best_),
            TunedSchedules::code_key(tunable_, tunable_.standard));
}

TEST_F(Tuned, a_choice_stays_the_same_when_others_tune) {
  keep(tunable_.standard);
  TunedSchedules first(device_, folder_.native());
  EXPECT_EQ(first.choose(tunable_), tunable_.standard);
  keep(best_);  // another process
  EXPECT_EQ(first.choose(tunable_), tunable_.standard);
  EXPECT_EQ(chosen(), best_);
}

TEST_F(Tuned, another_driver_compiler_shape_or_kernel_misses) {
  keep(best_);
  device_.identity = "a card | sm_90 | driver 2";
  EXPECT_EQ(chosen(), tunable_.standard);
  device_.identity = "a card | sm_90 | driver 1";
  g_compiler = "compiler 2";
  EXPECT_EQ(chosen(), tunable_.standard);
  g_compiler = "compiler 1";
  const Tunable mine = tunable_;
  tunable_.key = "another shape";
  EXPECT_EQ(chosen(), mine.standard);
  // The kernel was edited: the standard schedule gives another text.
  tunable_ = mine;
  GemvSpec edited = spec_;
  edited.softcap = 30;
  tunable_.launches = tunable_gemv(edited, device_.caps, "x").launches;
  EXPECT_EQ(chosen(), mine.standard);
  tunable_ = mine;
  EXPECT_EQ(chosen(), best_);
}

TEST_F(Tuned, what_the_builder_refuses_is_evicted) {
  keep(best_);
  replace_in_file("\"threads\":64", "\"threads\":48");
  EXPECT_EQ(chosen(), tunable_.standard);
  EXPECT_EQ(std::filesystem::file_size(file()), 0u);
}

TEST_F(Tuned, what_exceeds_the_device_is_evicted) {
  keep(values_of(GemvSchedule{1024, 32, 1, 1}));
  device_.caps.max_threads = 512;
  EXPECT_EQ(chosen(), tunable_.standard);
  EXPECT_EQ(std::filesystem::file_size(file()), 0u);
}

TEST_F(Tuned, grids_beyond_the_device_are_evicted) {
  keep(values_of(GemvSchedule{64, 64, 1, 1}));  // a group for each of 256 rows
  device_.max_grid[0] = 100;
  EXPECT_EQ(chosen(), tunable_.standard);
  EXPECT_EQ(std::filesystem::file_size(file()), 0u);
}

TEST_F(Tuned, integers_that_are_missing_or_none_are_evicted) {
  for (const char* instead :
       {"\"thread\":64", "\"threads\":-1", "\"threads\":6.5", "\"threads\":4294967296"}) {
    keep(best_);
    replace_in_file("\"threads\":64", instead);
    EXPECT_EQ(chosen(), tunable_.standard) << instead;
    EXPECT_EQ(std::filesystem::file_size(file()), 0u) << instead;
  }
}

TEST_F(Tuned, code_that_does_not_compile_evicts_its_schedule) {
  keep(best_);
  TunedSchedules tuned(device_, folder_.native());
  ASSERT_EQ(tuned.choose(tunable_), best_);
  const Status why = error(Code::kInvalidArgument, "the compiler says no");
  EXPECT_FALSE(tuned.evict(TunedSchedules::code_key(tunable_, tunable_.standard), why));
  EXPECT_TRUE(tuned.evict(TunedSchedules::code_key(tunable_, best_) + " + int8", why));
  EXPECT_FALSE(tuned.evict(TunedSchedules::code_key(tunable_, best_), why));
  EXPECT_EQ(tuned.choose(tunable_), tunable_.standard);
  EXPECT_EQ(chosen(), tunable_.standard);
}

TEST_F(Tuned, a_folder_that_cannot_be_written_costs_the_next_process_its_choice) {
  std::ofstream(folder_) << "a file where the folder should be";
  TunedSchedules tuned(device_, folder_.native());
  EXPECT_FALSE(tuned.keep(tunable_, best_, {}).ok());
  EXPECT_EQ(tuned.choose(tunable_), best_);
  EXPECT_EQ(chosen(), tunable_.standard);
}

TEST_F(Tuned, measurements_come_back) {
  TunedSchedules tuned(device_, folder_.native());
  EXPECT_FALSE(tuned.known(tunable_));
  TuningRecord measured;
  measured.set("tuned_us", 3.5);
  ASSERT_TRUE(tuned.keep(tunable_, best_, measured).ok());
  const auto known = TunedSchedules(device_, folder_.native()).known(tunable_);
  ASSERT_TRUE(known);
  EXPECT_EQ(known->number("tuned_us"), 3.5);
  EXPECT_EQ(known->integer("lanes"), 16);
}

TEST_F(Tuned, the_environment_can_leave_it_unused) {
  keep(best_);
  ::setenv("BACKPLANE_TUNED", "0", 1);
  EXPECT_EQ(chosen(), tunable_.standard);
  ::unsetenv("BACKPLANE_TUNED");
  EXPECT_EQ(chosen(), best_);
}

}  // namespace
}  // namespace bp::kernels
