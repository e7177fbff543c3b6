// SPDX-License-Identifier: Apache-2.0
#include "core/plugin/manifest.h"

#include <gtest/gtest.h>

namespace bp {
namespace {

const std::string kGood =
    R"({"id": "cpu", "version": "0.1", "abi": {"major": 1, "min_minor": 0}, )"
    R"("library": "libbackplane-cpu.so", "kinds": ["device"], "future": [1, {"x": 2}]})";

TEST(Manifest, a_good_one_is_read_and_unknown_keys_are_ignored) {
  const Manifest manifest = parse_manifest(kGood, "/somewhere").value();
  EXPECT_EQ(manifest.id, "cpu");
  EXPECT_EQ(manifest.library, "/somewhere/libbackplane-cpu.so");
  EXPECT_EQ(manifest.kinds, std::vector<std::string>{"device"});
}

TEST(Manifest, every_truncation_is_an_error) {
  for (size_t n = 0; n < kGood.size(); ++n) {
    EXPECT_FALSE(parse_manifest(kGood.substr(0, n), "/x").ok()) << n;
  }
}

TEST(Manifest, every_one_byte_edit_gives_an_error_or_a_manifest) {
  size_t accepted = 0;
  for (size_t at = 0; at < kGood.size(); ++at) {
    for (int value = 0; value < 256; ++value) {
      std::string edited = kGood;
      edited[at] = static_cast<char>(value);
      const auto manifest = parse_manifest(edited, "/x");
      if (!manifest.ok()) continue;
      ++accepted;
      EXPECT_TRUE(is_plugin_id(manifest->id));
      EXPECT_TRUE(manifest->library.native().starts_with("/x/"));
    }
  }
  EXPECT_GT(accepted, kGood.size());
}

TEST(Manifest, libraries_outside_the_folder_are_refused) {
  for (const char* library : {"/lib/evil.so", "../evil.so", "a/../../evil.so", "", ".."}) {
    std::string text = kGood;
    text.replace(text.find("libbackplane-cpu.so"), 19, library);
    EXPECT_FALSE(parse_manifest(text, "/x").ok()) << library;
  }
}

TEST(Manifest, nesting_bombs_are_refused_before_they_are_parsed) {
  EXPECT_FALSE(parse_manifest(std::string(60000, '['), "/x").ok());
  EXPECT_FALSE(parse_manifest(std::string(100000, ' ') + kGood, "/x").ok());
}

}  // namespace
}  // namespace bp
