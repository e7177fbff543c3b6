// SPDX-License-Identifier: Apache-2.0
// The interface: errors with their places, inputs, the clock, and where every byte came from.
#include "core/text/template/chat_template.h"

#include <gtest/gtest.h>

#include <string>
#include <thread>
#include <vector>

namespace bp {
namespace {

using Json = ChatJson;

Result<RenderedPrompt> render(const std::string& source, const ChatInputs& inputs) {
  return BP_TRY(ChatTemplate::parse(source)).render(inputs);
}

// The text with its content between « and ».
std::string marked(const std::string& source, const ChatInputs& inputs) {
  const auto prompt = render(source, inputs);
  if (!prompt.ok()) return std::string("error: ").append(prompt.status().message());
  std::string out;
  for (const TextSegment& segment : prompt.value().segments) {
    const bool content = segment.origin == TextOrigin::kContent;
    if (content) out.append("«");
    out += prompt.value().text.substr(segment.offset_bytes, segment.length_bytes);
    if (content) out.append("»");
  }
  return out;
}

ChatInputs with_content(Json content) {
  ChatInputs inputs;
  inputs.messages = Json::array({Json{{"role", "user"}, {"content", std::move(content)}}});
  inputs.special_tokens = {{"bos_token", "<s>"}};
  inputs.variables = Json{{"name", "Ann"}, {"number", 5}, {"flag", true}};
  return inputs;
}

struct OriginCase {
  const char* source;
  const char* expected;
};

TEST(Origin, is_kept_through_every_kind_of_operation) {
  const ChatInputs inputs = with_content(" a<B>\tc,d ");
  const std::vector<OriginCase> cases = {
      {"{{ bos_token }}[{{ c }}]", "<s>[« a<B>\tc,d »]"},
      {"{{ '<' + c + '>' }}", "<« a<B>\tc,d »>"},
      {"{{ '<' ~ c ~ '>' }}", "<« a<B>\tc,d »>"},
      {"{{ ('<' + c + '>')|trim('<') }}", "« a<B>\tc,d »>"},
      {"{{ c|trim }}", "«a<B>\tc,d»"},
      {"{{ (' x' + c)|upper }}", " X« A<B>\tC,D »"},
      {"{{ c|replace('<B>', '|sep|') }}", "« a»|sep|«\tc,d »"},
      {"{{ 'x-y'|replace('-', c) }}", "x« a<B>\tc,d »y"},
      {"{{ (c ~ '!')[1:4] }}{{ (c ~ '!')[-2:] }}", "«a<B »!"},
      {"{{ ('<' ~ c)[::-1] }}", "« d,c\t>B<a »<"},
      {"{{ c.split(',')|join(' + ') }}", "« a<B>\tc» + «d »"},
      {"{{ c.split()[0] }}", "«a<B>»"},
      {"{{ (c ~ '|')|e }}", "« a&lt;B&gt;\tc,d »|"},
      {"{{ 'x %s y' % c }}", "x « a<B>\tc,d » y"},
      {"{{ '%5d|' % number }}", "    «5»|"},
      {"{{ 'x {} y {n:>3}'.format(c, n=name) }}", "x « a<B>\tc,d » y «Ann»"},
      {"{{ '{:>5}'.format(name) }}", "  «Ann»"},
      {"{{ name.center(7, '*') }}", "**«Ann»**"},
      {"{{ [name, 'own'] }}", "[«'Ann'», 'own']"},
      {"{{ {'k': name}|tojson }}", "{\"k\": «\"Ann\"»}"},
      {"{{ {'k': 'v'}|tojson }}", "{\"k\": \"v\"}"},
      {"{{ messages[0].content|length }}", "10"},
      {"{{ number }}{{ number + 1 }}{{ flag }}{{ 3 }}", "«56True»3"},
      {"{{ name|list|join('.') }}", "«A».«n».«n»"},
      {"{{ name|map('upper')|join }}", "«ANN»"},
      {"{% set x %}({{ name }}){% endset %}{{ x }}", "(«Ann»)"},
      {"{% macro m(a) %}<{{ a }}>{% endmacro %}{{ m(name) }}", "<«Ann»>"},
      {"{% filter upper %}own {{ name }}{% endfilter %}", "OWN «ANN»"},
      {"{% set ns = namespace(s='') %}{% for ch in name %}{% set ns.s = ns.s + ch + '-' %}{% "
       "endfor "
       "%}{{ ns.s }}",
       "«A»-«n»-«n»-"},
      {"{{ 'a\nb'|indent(2) }}{{ ('x\n' + name)|indent(2) }}", "a\n  bx«\n»  «Ann»"},
      {"{{ name if name == 'Ann' else 'x' }}", "«Ann»"},
      {"{{ 'own' if name == 'Ann' else name }}", "own"},
      {"{{ name.title() ~ 'x'.title() }}", "«Ann»X"},
      {"{{ name * 2 }}{{ 'z' * 2 }}", "«AnnAnn»zz"},
      {"{{ messages[0].keys()|list|join(',') }}", "«role»,«content»"},
      {"{{ messages|tojson }}", "«[{\"role\": »\"user\"«, \"content\": \" a<B>\\tc,d \"}]»"},
  };
  for (const OriginCase& one : cases) {
    const std::string source = std::string("{% set c = messages[0].content %}") + one.source;
    EXPECT_EQ(marked(source, inputs), one.expected) << one.source;
  }
}

TEST(Origin, known_roles_are_scaffold_and_others_are_content) {
  ChatInputs inputs;
  inputs.messages = Json::array({Json{{"role", "user"}}, Json{{"role", "end"}},
                                 Json{{"role", "assistant"}, {"name", "user"}}});
  EXPECT_EQ(marked("{% for m in messages %}<|{{ m.role }}|>{{ m.name }}{% endfor %}", inputs),
            "<|user|><|«end»|><|assistant|>«user»");
}

TEST(Origin, nothing_in_gives_no_segments) {
  const auto prompt = render("", ChatInputs());
  ASSERT_TRUE(prompt.ok());
  EXPECT_TRUE(prompt.value().segments.empty());
}

TEST(ChatTemplate, errors_say_the_line) {
  const auto failed = render("one\n{{ 1 }}\n{{ raise_exception('no ' ~ 2) }}", ChatInputs());
  EXPECT_EQ(failed.status().code(), Code::kInvalidArgument);
  EXPECT_EQ(failed.status().message(), "chat template, line 3: no 2");
  const auto undefined = render("{% if 1 %}\n{{ a.b.c }}\n{% endif %}", ChatInputs());
  EXPECT_EQ(undefined.status().message(), "chat template, line 2: 'a' is undefined");
  const auto syntax = ChatTemplate::parse("\n\n{% if %}");
  EXPECT_EQ(syntax.status().code(), Code::kCorrupt);
  EXPECT_EQ(syntax.status().message().substr(0, 23), "chat template, line 3: ");
  EXPECT_EQ(ChatTemplate::parse("{{ 1|nope }}").status().code(), Code::kUnimplemented);
  EXPECT_EQ(ChatTemplate::parse("{% include 'x' %}").status().code(), Code::kUnimplemented);
}

TEST(ChatTemplate, an_error_after_a_macro_names_the_callers_line) {
  const auto failed = render("{% macro m() %}\nx\n{% endmacro %}\n{{ m() + 1 }}", ChatInputs());
  EXPECT_EQ(failed.status().message(),
            "chat template, line 4: can only concatenate str (not \"int\") to str");
}

TEST(ChatTemplate, the_time_must_be_given) {
  ChatInputs inputs;
  EXPECT_EQ(render("{{ strftime_now('%Y') }}", inputs).status().code(), Code::kFailedPrecondition);
  const std::vector<std::pair<int64_t, const char*>> times = {
      {0, "1970-01-01 00:00:00 Thursday 001"},
      {-1, "1969-12-31 23:59:59 Wednesday 365"},
      {951'782'400, "2000-02-29 00:00:00 Tuesday 060"},
      {4'107'542'399, "2100-02-28 23:59:59 Sunday 059"},
      {253'402'300'799, "9999-12-31 23:59:59 Friday 365"},
  };
  for (const auto& [seconds, expected] : times) {
    inputs.now_local_seconds = seconds;
    const auto prompt = render("{{ strftime_now('%Y-%m-%d %H:%M:%S %A %j') }}", inputs);
    ASSERT_TRUE(prompt.ok()) << prompt.status().message();
    EXPECT_EQ(prompt.value().text, expected);
  }
  inputs.now_local_seconds = INT64_MAX;
  EXPECT_FALSE(render("{{ strftime_now('%Y') }}", inputs).ok());
  inputs.now_local_seconds = INT64_MIN;
  EXPECT_FALSE(render("{{ strftime_now('%Y') }}", inputs).ok());
}

TEST(ChatTemplate, variables_win_over_inputs_and_null_is_none) {
  ChatInputs inputs = with_content("x");
  EXPECT_EQ(render("{{ tools }}{{ documents }}{{ tools is defined }}", inputs).value().text,
            "NoneNoneTrue");
  inputs.variables = Json{{"bos_token", "B"}, {"tools", Json::array({1})}};
  EXPECT_EQ(render("{{ bos_token }}{{ tools }}", inputs).value().text, "B[1]");
}

TEST(ChatTemplate, mentions_says_which_variables_matter) {
  const auto parsed = ChatTemplate::parse("{% if enable_thinking %}{{ tools|length }}{% endif %}");
  ASSERT_TRUE(parsed.ok());
  EXPECT_TRUE(parsed.value().mentions("enable_thinking"));
  EXPECT_TRUE(parsed.value().mentions("tools"));
  EXPECT_FALSE(parsed.value().mentions("documents"));
}

TEST(ChatTemplate, strings_that_are_not_utf8_pass_through) {
  const ChatInputs inputs = with_content(std::string("a\xff\xc3 \xf0\x9f"));
  EXPECT_EQ(render("{{ messages[0].content }}", inputs).value().text, "a\xff\xc3 \xf0\x9f");
  EXPECT_EQ(render("{{ messages[0].content|upper }}", inputs).value().text, "A\xff\xc3 \xf0\x9f");
  EXPECT_EQ(render("{{ messages[0].content|length }}", inputs).value().text, "6");
  for (const char* source :
       {"{{ messages }}", "{{ messages|tojson }}", "{{ messages[0].content[::-1] }}",
        "{{ messages[0].content|trim|title|capitalize }}", "{{ messages[0].content|list }}",
        "{{ messages[0].content.split('\\xff') }}", "{{ messages|tojson(ensure_ascii=true) }}"}) {
    EXPECT_TRUE(render(source, inputs).ok()) << source;
  }
}

TEST(ChatTemplate, one_template_renders_on_many_threads) {
  const auto parsed = ChatTemplate::parse(
      "{% set x = ['a', 'b'] %}{% macro m(v) %}<{{ v }}>{% endmacro %}"
      "{% for i in range(200) %}{{ m(x[i % 2] ~ messages[0].content) }}{% endfor %}");
  ASSERT_TRUE(parsed.ok());
  std::vector<std::string> results(8);
  std::vector<std::thread> threads;
  for (size_t i = 0; i < results.size(); ++i) {
    threads.emplace_back([&results, i, copy = parsed.value()] {
      const auto prompt = copy.render(with_content(fmt::format("t{}", i)));
      if (prompt.ok()) results[i] = prompt.value().text;
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (size_t i = 0; i < results.size(); ++i) {
    EXPECT_EQ(results[i].substr(0, 10), fmt::format("<at{}><bt{}>", i, i));
  }
}

}  // namespace
}  // namespace bp
