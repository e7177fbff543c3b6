// SPDX-License-Identifier: Apache-2.0
#include "core/engine/stop_matcher.h"

#include <gtest/gtest.h>

namespace bp {
namespace {

struct Outcome {
  std::string text;
  bool stopped;
};
Outcome stream(const std::vector<std::string>& stops, const std::vector<std::string>& pieces) {
  StopMatcher matcher(stops);
  Outcome outcome{"", false};
  for (const std::string& piece : pieces) {
    if (matcher.push(piece, &outcome.text)) {
      outcome.stopped = true;
      return outcome;
    }
  }
  matcher.finish(&outcome.text);
  return outcome;
}

TEST(StopMatcher, every_way_to_cut_the_text_gives_the_same_result) {
  const std::string text = "the end. The End! the en";
  for (const char* stop : {"The End", "end", "!", " ", "the end. T", "zzz", "the en"}) {
    const size_t at = text.find(stop);
    const std::string expected = text.substr(0, at);
    for (size_t cut = 0; cut <= text.size(); ++cut) {
      for (size_t second = cut; second <= text.size(); ++second) {
        const Outcome got = stream(
            {stop}, {text.substr(0, cut), text.substr(cut, second - cut), text.substr(second)});
        ASSERT_EQ(got.text, expected) << stop << " " << cut << " " << second;
        ASSERT_EQ(got.stopped, at != std::string::npos);
      }
    }
  }
}

TEST(StopMatcher, text_is_held_back_only_while_it_may_become_a_stop) {
  StopMatcher matcher({"abc"});
  std::string out;
  EXPECT_FALSE(matcher.push("xxa", &out));
  EXPECT_EQ(out, "xx");
  EXPECT_FALSE(matcher.push("ab", &out));
  EXPECT_EQ(out, "xxa");
  EXPECT_TRUE(matcher.push("cd", &out));
  EXPECT_EQ(out, "xxa");
}

TEST(StopMatcher, the_first_of_several_wins_and_empty_ones_do_nothing) {
  EXPECT_EQ(stream({"cd", "b", ""}, {"a", "bcd"}).text, "a");
  EXPECT_EQ(stream({""}, {"abc"}).text, "abc");
  EXPECT_EQ(stream({"aab"}, {"a", "a", "a", "b", "c"}).text, "a");
}

}  // namespace
}  // namespace bp
