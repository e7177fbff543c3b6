// SPDX-License-Identifier: Apache-2.0
#include "kernels/plugin/tuning_store.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <limits>

namespace bp::kernels {
namespace {

class Store : public ::testing::Test {
 protected:
  void SetUp() override {
    folder_ = std::filesystem::temp_directory_path() /
              ("backplane-store-" + std::to_string(::getpid()) + "-" +
               ::testing::UnitTest::GetInstance()->current_test_info()->name());
    std::filesystem::remove_all(folder_);
    path_ = (folder_ / "tuning" / "card.jsonl").native();
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  static TuningRecord record(int64_t threads, double us) {
    TuningRecord out;
    out.set("threads", threads);
    out.set("tuned_us", us);
    return out;
  }
  std::vector<std::string> lines() const {
    std::vector<std::string> out;
    std::ifstream in(path_);
    for (std::string line; std::getline(in, line);) out.push_back(line);
    return out;
  }
  void append(const std::string& text) const { std::ofstream(path_, std::ios::app) << text; }

  std::filesystem::path folder_;
  std::string path_;
};

TEST_F(Store, keeps_integers_and_doubles_for_the_next_process) {
  const std::string key = "gemv \"q4\" | a\nb | \xc3\xa9";
  {
    TuningStore store(path_);
    EXPECT_TRUE(store.empty());
    EXPECT_FALSE(store.find(key));
    ASSERT_TRUE(store.put(key, record(128, 9.8)).ok());
    ASSERT_TRUE(store.put("other", record(-7, 0.1 + 0.2)).ok());
  }
  TuningStore store(path_);
  EXPECT_FALSE(store.empty());
  EXPECT_EQ(store.find(key), record(128, 9.8));
  EXPECT_EQ(store.find("other"), record(-7, 0.1 + 0.2));
  EXPECT_EQ(store.find(key)->integer("threads"), 128);
  EXPECT_EQ(store.find(key)->number("threads"), 128.0);
  EXPECT_FALSE(store.find(key)->integer("tuned_us"));
  EXPECT_FALSE(store.find(key)->number("absent"));
  EXPECT_EQ(lines().size(), 2u);
}

TEST_F(Store, ignores_lines_that_are_no_records_and_keeps_the_rest) {
  ASSERT_TRUE(TuningStore(path_).put("good", record(64, 1)).ok());
  append("{\"key\": \"cut\", \"values\": {\"thre\n");
  append("not json at all\n\n[1, 2]\n{\"key\": 5, \"values\": {}}\n{\"key\": \"no values\"}\n");
  append("{\"key\": \"text\", \"values\": {\"threads\": \"many\"}}\n");
  append("{\"key\": \"huge\", \"values\": {\"threads\": 1e999}}\n");
  append("{\"key\": \"large\", \"values\": {\"threads\": 18446744073709551615}}\n");
  append("{\"key\": \"deep\", \"values\": {\"a\": [[[[[[[[1]]]]]]]]}}\n");
  append(std::string(1u << 18, 'x') + "\n");
  append("{\"key\": \"by hand\", \"values\": {\"threads\": 32, \"tuned_us\": 2.5}}");
  TuningStore store(path_);
  EXPECT_EQ(store.find("good"), record(64, 1));
  EXPECT_EQ(store.find("by hand"), record(32, 2.5));
  for (const char* key : {"cut", "no values", "text", "huge", "large", "deep"}) {
    EXPECT_FALSE(store.find(key)) << key;
  }
  ASSERT_TRUE(store.put("new", record(1, 1)).ok());  // writes what is sound
  EXPECT_EQ(lines().size(), 3u);
}

TEST_F(Store, of_equal_keys_the_last_counts) {
  ASSERT_TRUE(TuningStore(path_).put("k", record(64, 1)).ok());
  append("{\"key\": \"k\", \"values\": {\"threads\": 32, \"tuned_us\": 2.5}}\n");
  EXPECT_EQ(TuningStore(path_).find("k"), record(32, 2.5));
}

TEST_F(Store, erased_records_are_gone_from_the_disk) {
  TuningStore store(path_);
  ASSERT_TRUE(store.put("a", record(1, 1)).ok());
  ASSERT_TRUE(store.put("b", record(2, 2)).ok());
  ASSERT_TRUE(store.erase("a").ok());
  ASSERT_TRUE(store.erase("never there").ok());
  EXPECT_FALSE(store.find("a"));
  EXPECT_FALSE(TuningStore(path_).find("a"));
  EXPECT_EQ(TuningStore(path_).find("b"), record(2, 2));
}

TEST_F(Store, changes_of_others_are_not_overwritten) {
  TuningStore first(path_), second(path_);
  EXPECT_FALSE(first.find("a"));  // both have read an empty store
  EXPECT_FALSE(second.find("a"));
  ASSERT_TRUE(first.put("a", record(1, 1)).ok());
  ASSERT_TRUE(second.put("b", record(2, 2)).ok());
  ASSERT_TRUE(first.erase("never there").ok());
  TuningStore third(path_);
  EXPECT_EQ(third.find("a"), record(1, 1));
  EXPECT_EQ(third.find("b"), record(2, 2));
}

TEST_F(Store, leaves_no_temporary_files) {
  TuningStore store(path_);
  for (int64_t i = 0; i < 5; ++i) ASSERT_TRUE(store.put("k", record(i, 1)).ok());
  size_t files = 0;
  for (const auto& entry : std::filesystem::directory_iterator(folder_ / "tuning")) {
    ++files;
    EXPECT_EQ(entry.path().native(), path_);
  }
  EXPECT_EQ(files, 1u);
}

// A file in the place of the folder stops even those who may write everywhere.
TEST_F(Store, that_cannot_write_says_so_and_remembers_all_the_same) {
  std::filesystem::create_directories(folder_);
  std::ofstream(folder_ / "tuning") << "a file where the folder should be";
  TuningStore store(path_);
  const Status status = store.put("k", record(1, 1));
  EXPECT_EQ(status.code(), Code::kDenied) << status.to_string();
  EXPECT_NE(status.message().find("tuning"), std::string_view::npos);
  EXPECT_EQ(store.find("k"), record(1, 1));
  EXPECT_FALSE(store.empty());
}

TEST_F(Store, without_a_folder_lasts_as_long_as_it_lives) {
  TuningStore store("");
  EXPECT_FALSE(store.put("k", record(1, 1)).ok());
  EXPECT_EQ(store.find("k"), record(1, 1));
  EXPECT_TRUE(store.erase("k").ok());
  EXPECT_FALSE(store.find("k"));
}

TEST(Record, numbers_that_json_has_no_word_for_become_zero) {
  TuningRecord record;
  record.set("x", std::numeric_limits<double>::infinity());
  EXPECT_EQ(record.number("x"), 0.0);
}

}  // namespace
}  // namespace bp::kernels
