// SPDX-License-Identifier: Apache-2.0
// Whatever a plugin does, the host lives and says what was wrong.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "core/plugin/registry.h"

namespace bp {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

class HostilePlugin : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = fs::temp_directory_path() / "bp-hostile-XXXXXX";
    ASSERT_NE(::mkdtemp(pattern.data()), nullptr);
    folder_ = pattern;
  }
  void TearDown() override { fs::remove_all(folder_); }

  // A manifest for one of the hostile libraries, which is copied beside it.
  fs::path install(const std::string& behaviour, const std::string& name = "hostile",
                   const std::string& abi = R"({"major": 1, "min_minor": 0})") {
    // Under a name of its own: a mapped library must not be overwritten in place.
    const std::string library = name + "-" + behaviour + ".so";
    fs::copy_file(fs::path(BP_HOSTILE_DIR) / (behaviour + ".so"), folder_ / library);
    return write_manifest(name, "hostile", library, abi);
  }
  fs::path write_manifest(const std::string& name, const std::string& id,
                          const std::string& library,
                          const std::string& abi = R"({"major": 1, "min_minor": 0})") {
    const fs::path path = folder_ / (name + ".plugin.json");
    std::ofstream(path) << "{\"id\": \"" << id << "\", \"version\": \"1\", \"abi\": " << abi
                        << ", \"library\": \"" << library << "\", \"kinds\": [\"device\"]}";
    ::chmod(path.c_str(), 0644);
    return path;
  }
  // What the registry says of the plugins in the folder.
  std::vector<PluginReport> scan() {
    Registry registry;
    EXPECT_TRUE(registry.add(folder_).ok());
    std::vector<PluginReport> own;
    for (PluginReport& report : registry.plugins()) {
      if (report.candidate.manifest_path.parent_path() == fs::canonical(folder_)) {
        own.push_back(std::move(report));
      }
    }
    devices_ = registry.devices();
    return own;
  }
  Status verdict(const std::string& behaviour) {
    install(behaviour);
    const auto reports = scan();
    EXPECT_EQ(reports.size(), 1u);
    return reports.empty() ? error(Code::kInternal, "not found") : reports[0].status;
  }

  fs::path folder_;
  std::vector<DeviceEntry> devices_;
};

TEST_F(HostilePlugin, a_good_one_is_accepted_so_that_the_others_prove_something) {
  EXPECT_TRUE(verdict("good").ok());
  ASSERT_EQ(devices_.size(), 1u);
  EXPECT_EQ(devices_[0].id, "hostile:0");
  EXPECT_EQ(std::string(devices_[0].info.name).size(), sizeof(devices_[0].info.name) - 1);
}

TEST_F(HostilePlugin, descriptions_of_impossible_size_are_corrupt) {
  for (const char* behaviour : {"size_zero", "size_huge"}) {
    const Status status = verdict(behaviour);
    EXPECT_EQ(status.code(), Code::kCorrupt) << behaviour;
    EXPECT_THAT(std::string(status.message()), HasSubstr("hostile"));
  }
}

TEST_F(HostilePlugin, a_newer_minor_loads_and_a_needed_newer_host_is_refused_with_both_numbers) {
  EXPECT_TRUE(verdict("newer_minor").ok());
  const Status status = verdict("newer_host_needed");
  EXPECT_EQ(status.code(), Code::kIncompatible);
  EXPECT_THAT(std::string(status.message()), HasSubstr("needs plugin ABI 1.1, this host has 1.0"));
}

TEST_F(HostilePlugin, a_wrong_major_is_refused_without_loading) {
  install("throws_in_query", "hostile", R"({"major": 2, "min_minor": 0})");
  const auto reports = scan();
  ASSERT_EQ(reports.size(), 1u);
  EXPECT_EQ(reports[0].status.code(), Code::kIncompatible);
  EXPECT_THAT(std::string(reports[0].status.message()), HasSubstr("ABI 2"));
}

TEST_F(HostilePlugin, exceptions_are_caught_wherever_they_come_from) {
  for (const char* behaviour : {"throws_in_query", "throws_in_probe"}) {
    EXPECT_EQ(verdict(behaviour).code(), Code::kInternal) << behaviour;
  }
}

TEST_F(HostilePlugin, strings_without_sense_never_reach_anybody) {
  EXPECT_THAT(std::string(verdict("garbage_strings").message()), HasSubstr("not printable"));
  EXPECT_THAT(std::string(verdict("null_strings").message()), HasSubstr("bytes long"));
  EXPECT_THAT(std::string(verdict("null_api").message()), HasSubstr("no table"));
  EXPECT_THAT(std::string(verdict("wrong_id").message()), HasSubstr("somebody-else"));
}

TEST_F(HostilePlugin, unknown_statuses_and_unended_texts_become_an_internal_error) {
  const Status status = verdict("fails_with_garbage");
  EXPECT_EQ(status.code(), Code::kInternal);
  EXPECT_THAT(std::string(status.message()), HasSubstr("-12345"));
}

TEST_F(HostilePlugin, tables_of_impossible_size_are_corrupt) {
  EXPECT_EQ(verdict("table_size_zero").code(), Code::kCorrupt);
}

TEST_F(HostilePlugin, missing_slots_answer_unimplemented) {
  EXPECT_TRUE(verdict("missing_slots").ok());
  EXPECT_TRUE(devices_.empty());
}

TEST_F(HostilePlugin, device_counts_are_bounded) {
  EXPECT_TRUE(verdict("too_many_devices").ok());
  EXPECT_LE(devices_.size(), 256u);
}

TEST_F(HostilePlugin, a_library_without_the_symbol_is_no_plugin) {
  const Status status = verdict("no_symbol");
  EXPECT_EQ(status.code(), Code::kIncompatible);
  EXPECT_THAT(std::string(status.message()), HasSubstr("bp_plugin_query_1"));
}

TEST_F(HostilePlugin, libraries_that_cannot_be_loaded_keep_the_loaders_words) {
  write_manifest("missing", "hostile", "nowhere.so");
  auto reports = scan();
  ASSERT_EQ(reports.size(), 1u);
  EXPECT_EQ(reports[0].status.code(), Code::kNotFound);

  // Right shape, wrong machine: an ELF header of another architecture.
  const fs::path foreign = folder_ / "foreign.so";
  fs::copy_file(fs::path(BP_HOSTILE_DIR) / "good.so", foreign);
  {
    std::fstream file(foreign, std::ios::in | std::ios::out | std::ios::binary);
    file.seekp(18);
    const char sparc[2] = {2, 0};
    file.write(sparc, 2);
  }
  write_manifest("missing", "hostile", "foreign.so");
  reports = scan();
  ASSERT_EQ(reports.size(), 1u);
  EXPECT_EQ(reports[0].status.code(), Code::kIncompatible);
  EXPECT_THAT(std::string(reports[0].status.message()), HasSubstr("foreign.so"));

  std::ofstream(folder_ / "text.so") << "no library at all";
  write_manifest("missing", "hostile", "text.so");
  EXPECT_EQ(scan()[0].status.code(), Code::kIncompatible);
}

TEST_F(HostilePlugin, of_two_with_one_id_the_first_wins_and_the_second_is_reported) {
  install("good", "a_first");
  install("second_good", "b_second");
  const auto reports = scan();
  ASSERT_EQ(reports.size(), 2u);
  EXPECT_TRUE(reports[0].status.ok());
  EXPECT_EQ(reports[1].status.code(), Code::kFailedPrecondition);
  EXPECT_THAT(std::string(reports[1].status.message()), HasSubstr("a_first"));
}

TEST_F(HostilePlugin, places_that_others_may_write_to_are_refused) {
  const fs::path manifest = install("good");
  ::chmod(manifest.c_str(), 0666);
  EXPECT_EQ(scan()[0].status.code(), Code::kDenied);
  ::chmod(manifest.c_str(), 0644);
  ::chmod((folder_ / "hostile-good.so").c_str(), 0777);
  EXPECT_EQ(scan()[0].status.code(), Code::kDenied);
  ::chmod((folder_ / "hostile-good.so").c_str(), 0755);
  ::chmod(folder_.c_str(), 0777);
  EXPECT_EQ(scan()[0].status.code(), Code::kDenied);
}

TEST_F(HostilePlugin, nothing_is_loaded_from_the_current_folder) {
  install("good");
  const fs::path before = fs::current_path();
  fs::current_path(folder_);
  Registry registry;
  for (const PluginReport& report : registry.plugins()) {
    EXPECT_NE(report.candidate.manifest.id, "hostile");
  }
  fs::current_path(before);
}

}  // namespace
}  // namespace bp
