// SPDX-License-Identifier: Apache-2.0
// Templates written to hurt: each must end in an error that names the limit it ran into, quickly
// and on an ordinary stack.
#include <gtest/gtest.h>

#include <string>
#include <thread>

#include "core/text/template/chat_template.h"

namespace bp {
namespace {

std::string repeat(std::string_view text, size_t times) {
  std::string out;
  out.reserve(text.size() * times);
  for (size_t i = 0; i < times; ++i) out += text;
  return out;
}

Status status_of(const std::string& source, const ChatInputs& inputs = {}) {
  const auto parsed = ChatTemplate::parse(source);
  if (!parsed.ok()) return parsed.status();
  const auto rendered = parsed.value().render(inputs);
  return rendered.ok() ? Status() : rendered.status();
}

void expect_exhausted(const std::string& source, std::string_view limit) {
  const Status status = status_of(source);
  const std::string shown = source.substr(0, 120);
  EXPECT_EQ(status.code(), Code::kExhausted) << shown << "\n" << status.message();
  EXPECT_NE(status.message().find(limit), std::string_view::npos) << shown << "\n"
                                                                  << status.message();
}

TEST(HostileTemplate, endless_loops_are_cut) {
  const std::string nested =
      repeat("{% for x in range(100000) %}", 3) + "{% set y = x %}" + repeat("{% endfor %}", 3);
  expect_exhausted(nested, "max_loop_iterations");
  expect_exhausted(
      "{% for x in range(100000) %}{% for y in range(100000) if false %}{% endfor %}"
      "{% endfor %}",
      "max_loop_iterations");
  expect_exhausted(
      "{% for x in range(100000) %}{{ range(99999)|select('odd')|list|length }}"
      "{% endfor %}",
      "max_");
}

TEST(HostileTemplate, steps_are_counted_inside_expressions) {
  ChatInputs inputs;
  inputs.limits.max_steps = 1000;
  const Status status = status_of("{% for x in range(400) %}{{ 1 + 2 * 3 }}{% endfor %}", inputs);
  EXPECT_EQ(status.code(), Code::kExhausted);
  EXPECT_NE(status.message().find("max_steps = 1000"), std::string_view::npos);
}

TEST(HostileTemplate, recursion_is_cut) {
  expect_exhausted("{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}", "kMaxEvaluationDepth");
  expect_exhausted("{% macro m(x) %}{{ m([x]) }}{% endmacro %}{{ m(1) }}", "kMax");
  expect_exhausted(
      "{% macro m() %}{% if true %}{% set x %}{% filter upper %}{{ m()|trim }}"
      "{% endfilter %}{% endset %}{{ x }}{% endif %}{% endmacro %}{{ m() }}",
      "kMaxEvaluationDepth");
  expect_exhausted(
      "{% macro a() %}{{ b() }}{% endmacro %}{% macro b() %}{{ a() }}{% endmacro %}"
      "{{ a() }}",
      "kMaxEvaluationDepth");
  expect_exhausted("{% for x in [1] recursive %}{{ loop([1]) }}{% endfor %}",
                   "kMaxEvaluationDepth");
  expect_exhausted(
      "{% macro m() %}{{ caller() }}{% call m() %}{{ caller is defined }}{% endcall %}"
      "{% endmacro %}{% call m() %}{{ 1 }}{% endcall %}",
      "kMaxEvaluationDepth");
  expect_exhausted("{% macro m(a=m()) %}{% endmacro %}{{ m() }}", "kMaxEvaluationDepth");
}

TEST(HostileTemplate, recursion_fits_a_small_stack) {
  // The deepest evaluation, on a thread whose stack is a quarter of the usual 8 MiB.
  Status status;
  const std::string source =
      "{% macro m(x) %}{% if x %}{% for y in [1] %}{% set z %}{{ (m(x ~ 'a')|upper) }}{% endset %}"
      "{{ z }}{% endfor %}{% endif %}{% endmacro %}{{ m('b') }}";
  struct Job {
    const std::string* source;
    Status* status;
  } job{&source, &status};
  pthread_attr_t attributes;
  ASSERT_EQ(pthread_attr_init(&attributes), 0);
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  constexpr size_t kStackBytes = 6u << 20;  // sanitizers make frames several times larger
#else
  constexpr size_t kStackBytes = 2u << 20;
#endif
  ASSERT_EQ(pthread_attr_setstacksize(&attributes, kStackBytes), 0);
  pthread_t thread{};
  ASSERT_EQ(pthread_create(
                &thread, &attributes,
                [](void* argument) -> void* {
                  auto* given = static_cast<Job*>(argument);
                  *given->status = status_of(*given->source);
                  return nullptr;
                },
                &job),
            0);
  ASSERT_EQ(pthread_join(thread, nullptr), 0);
  pthread_attr_destroy(&attributes);
  EXPECT_EQ(status.code(), Code::kExhausted) << status.message();
}

TEST(HostileTemplate, deep_sources_are_refused_by_the_parser) {
  constexpr size_t kMany = 300'000;
  expect_exhausted("{{ " + repeat("(", kMany) + "1" + repeat(")", kMany) + " }}",
                   "kMaxExpressionDepth");
  expect_exhausted("{{ " + repeat("[", kMany) + repeat("]", kMany) + " }}", "kMaxExpressionDepth");
  expect_exhausted("{{ " + repeat("{1:", kMany / 2) + "1" + repeat("}", kMany / 2) + " }}",
                   "kMaxExpressionDepth");
  EXPECT_EQ(status_of("{{ " + repeat("(", kMany)).code(), Code::kCorrupt);
  expect_exhausted("{{ " + repeat("-", kMany) + "1 }}", "kMaxExpressionDepth");
  expect_exhausted("{{ " + repeat("not ", kMany / 2) + "1 }}", "kMaxExpressionHeight");
  expect_exhausted("{{ 1" + repeat("+1", kMany) + " }}", "kMaxExpressionHeight");
  expect_exhausted("{{ a" + repeat(".a", kMany) + " }}", "kMaxExpressionHeight");
  expect_exhausted("{{ a" + repeat("()", kMany) + " }}", "kMaxExpressionHeight");
  expect_exhausted("{{ a" + repeat("|d", kMany) + " }}", "kMaxExpressionHeight");
  expect_exhausted("{{ a" + repeat("[0]", kMany) + " }}", "kMaxExpressionHeight");
  expect_exhausted("{{ a" + repeat(" if a else a", kMany / 12) + " }}", "kMaxExpressionDepth");
  expect_exhausted("{{ a" + repeat("(a", kMany) + repeat(")", kMany) + " }}",
                   "kMaxExpressionDepth");
  expect_exhausted("{{ a" + repeat("[a", kMany) + repeat("]", kMany) + " }}",
                   "kMaxExpressionDepth");
  expect_exhausted("{{ a" + repeat("|d(a", kMany / 2) + repeat(")", kMany / 2) + " }}",
                   "kMaxExpressionDepth");
  expect_exhausted("{% set " + repeat("(", kMany) + "a" + repeat(")", kMany) + " = 1 %}",
                   "kMaxExpressionDepth");
  expect_exhausted(repeat("{% if 1 %}", 50'000), "kMaxStatementDepth");
  expect_exhausted(repeat("{% for x in y %}", 50'000), "kMaxStatementDepth");
  expect_exhausted(repeat("{% macro m() %}", 50'000), "kMaxStatementDepth");
}

TEST(HostileTemplate, sizes_of_sources_are_limited) {
  expect_exhausted(std::string(2u << 20, 'x'), "kMaxTemplateBytes");
  std::string names = "{{ [";
  for (int i = 0; i < 20'000; ++i) names += fmt::format("v{},", i);
  expect_exhausted(names + "] }}", "kMaxSymbols");
}

TEST(HostileTemplate, a_million_small_things_still_parse_or_fail_politely) {
  EXPECT_TRUE(status_of(repeat("{{ 1 }}", 100'000)).ok());
  EXPECT_TRUE(status_of("{{ [" + repeat("1,", 300'000) + "]|length }}").ok());
  EXPECT_TRUE(status_of("{% if 0 %}" + repeat("{% elif 0 %}", 50'000) + "{% endif %}").ok());
  EXPECT_TRUE(status_of("{{ '" + std::string(900'000, '{') + "' }}").ok());
  EXPECT_TRUE(status_of(std::string(1'000'000, '{')).code() == Code::kCorrupt ||
              status_of(std::string(1'000'000, '{')).code() == Code::kExhausted);
  EXPECT_TRUE(status_of("{{ '" + std::string(500'000, '0') + "'|int }}").ok());
  EXPECT_FALSE(
      status_of("{{ " + std::string(500'000, '0') + std::string(400'000, '1') + " }}").ok());
}

TEST(HostileTemplate, huge_ranges_are_refused) {
  expect_exhausted("{{ range(1000000000)|list }}", "MAX_RANGE");
  expect_exhausted("{{ range(-9223372036854775807, 9223372036854775807) }}", "MAX_RANGE");
  expect_exhausted("{{ range(9223372036854775807, -9223372036854775807, -1) }}", "MAX_RANGE");
  EXPECT_TRUE(status_of("{{ range(0, 9223372036854775807, 9223372036854775807)|list }}").ok());
  EXPECT_TRUE(status_of("{{ range(9223372036854775807, -9223372036854775807, "
                        "-9223372036854775807)|list }}")
                  .ok());
}

TEST(HostileTemplate, growing_strings_are_cut) {
  expect_exhausted(
      "{% set ns = namespace(s='xxxxxxxx') %}{% for i in range(64) %}"
      "{% set ns.s = ns.s + ns.s %}{% endfor %}",
      "max_string_bytes");
  expect_exhausted(
      "{% set ns = namespace(s='xxxxxxxx') %}{% for i in range(64) %}"
      "{% set ns.s = ns.s ~ ns.s %}{% endfor %}",
      "max_string_bytes");
  expect_exhausted("{{ 'x' * 9223372036854775807 }}", "max_string_bytes");
  expect_exhausted("{{ ('x' * 4000) * 4611686018427387904 }}", "max_string_bytes");
  expect_exhausted("{{ [1] * 9223372036854775807 }}", "max_work_bytes");
  expect_exhausted("{{ 'x'.center(9223372036854775807) }}", "max_string_bytes");
  expect_exhausted("{{ 'x'.zfill(9223372036854775807) }}", "max_string_bytes");
  expect_exhausted("{{ 'x\n'|indent(9223372036854775807) }}", "max_string_bytes");
  expect_exhausted("{{ [1]|tojson(indent=9223372036854775807) }}", "max_string_bytes");
  expect_exhausted("{{ '\\t'.expandtabs(9223372036854775807) }}", "max_string_bytes");
  expect_exhausted("{{ '%999999999999d' % 1 }}", "kMaxFormatWidth");
  expect_exhausted("{{ '%.999999999999f' % 1 }}", "kMaxFormatWidth");
  expect_exhausted("{{ '{:999999999999}'.format(1) }}", "kMaxFormatWidth");
  expect_exhausted("{{ '{:.999999999999f}'.format(1.0) }}", "kMaxFormatWidth");
  expect_exhausted("{% set a = 'a' * 100000 %}{{ a|replace('a', a) }}", "max_string_bytes");
  expect_exhausted("{% set a = 'a' * 100000 %}{{ a.replace('', a) }}", "max_string_bytes");
  expect_exhausted("{% set a = 'a' * 100000 %}{{ a|join(a) }}", "max_string_bytes");
  expect_exhausted("{% set a = 'a' * 100000 %}{{ a.join(a) }}", "max_string_bytes");
  expect_exhausted("{{ range(3)|batch(9223372036854775807, 'x')|list }}", "max_work_bytes");
  expect_exhausted("{{ range(3)|slice(9223372036854775807)|list }}", "max_");
}

TEST(HostileTemplate, growing_output_is_cut) {
  expect_exhausted("{% set a = 'a' * 1000000 %}{% for i in range(1000) %}{{ a }}{% endfor %}",
                   "max_output_bytes");
  ChatInputs inputs;
  inputs.limits.max_output_bytes = 100;
  EXPECT_TRUE(status_of(std::string(100, 'x'), inputs).ok());
  const Status status = status_of(std::string(101, 'x'), inputs);
  EXPECT_EQ(status.code(), Code::kExhausted);
  EXPECT_NE(status.message().find("max_output_bytes"), std::string_view::npos);
}

TEST(HostileTemplate, shared_structures_that_unfold_are_cut) {
  const std::string tree =
      "{% set ns = namespace(l=[1]) %}{% for i in range(64) %}"
      "{% set ns.l = [ns.l, ns.l] %}{% endfor %}";
  expect_exhausted(tree + "{{ ns.l }}", "max_");
  expect_exhausted(tree + "{{ ns.l|tojson }}", "max_");
  expect_exhausted(tree + "{{ ns.l|tojson(indent=2) }}", "max_");
  const std::string two =
      "{% set ns = namespace(l=[1], m=[1]) %}{% for i in range(64) %}"
      "{% set ns.l = [ns.l, ns.l] %}{% set ns.m = [ns.m, ns.m] %}{% endfor %}";
  expect_exhausted(two + "{{ ns.l == ns.m }}", "max_steps");
  expect_exhausted(two + "{{ ns.l < ns.m }}", "max_steps");
  expect_exhausted(two + "{{ [ns.l, ns.m]|sort }}", "max_steps");
  expect_exhausted(two + "{{ ns.l in [ns.m] }}", "max_steps");
  expect_exhausted(
      "{% set ns = namespace(l=[]) %}{% for i in range(1000) %}"
      "{% set ns.l = [ns.l] %}{% endfor %}",
      "kMaxValueDepth");
  expect_exhausted(
      "{% set ns = namespace(l={}) %}{% for i in range(1000) %}"
      "{% set ns.l = {'k': ns.l} %}{% endfor %}",
      "kMaxValueDepth");
}

TEST(HostileTemplate, cycles_through_namespaces_neither_leak_nor_loop) {
  expect_exhausted("{% set ns = namespace() %}{% set ns.me = ns %}{{ ns }}", "kMaxPrintDepth");
  expect_exhausted("{% set ns = namespace() %}{% set ns.me = [ns] %}{{ ns.me }}", "kMaxPrintDepth");
  EXPECT_TRUE(
      status_of("{% set ns = namespace() %}{% set ns.me = [ns] %}{{ ns == ns.me[0] }}").ok());
  EXPECT_TRUE(status_of("{% set ns = namespace() %}{% macro m() %}{{ ns }}{% endmacro %}"
                        "{% set ns.m = m %}{% for x in [1] %}{% set ns.l = loop %}"
                        "{% macro k() %}{{ loop }}{% endmacro %}{% set ns.k = k %}{% endfor %}"
                        "{{ ns.l.index }}{{ ns.k() }}")
                  .ok());
}

TEST(HostileTemplate, slow_searches_stay_linear) {
  const std::string source =
      "{% set h = 'a' * 1000000 %}{% set n = ('a' * 500000) ~ 'b' %}"
      "{{ n in h }}{{ h.find(n) }}{{ h.rfind(n) }}{{ h.count(n) }}{{ h.split(n)|length }}"
      "{{ h.rsplit(n, 1)|length }}{{ h.replace(n, '')|length }}{{ h.partition(n)|length }}";
  EXPECT_TRUE(status_of(source).ok());
  EXPECT_TRUE(status_of("{% set h = 'Σ' * 500000 %}{{ h|lower|length }}").ok());
  EXPECT_TRUE(status_of("{% set h = \"'\" * 1000000 %}{{ ('Σ' ~ h ~ 'Σ')|lower|length }}").ok());
}

TEST(HostileTemplate, integers_do_not_wrap) {
  for (const char* source :
       {"{{ 9223372036854775807 + 1 }}", "{{ -9223372036854775807 - 2 }}",
        "{{ 9223372036854775807 * 2 }}", "{{ 2 ** 64 }}", "{{ (-9223372036854775807 - 1) // -1 }}",
        "{{ -(-9223372036854775807 - 1) }}", "{{ (-9223372036854775807 - 1)|abs }}",
        "{{ 9223372036854775808 }}", "{{ '9223372036854775808'|int }}", "{{ 1e300|int }}",
        "{{ 9223372036854775807|round(-1) }}", "{{ [9223372036854775807, 1]|sum }}"}) {
    const Status status = status_of(source);
    EXPECT_EQ(status.code(), Code::kExhausted) << source << status.message();
    EXPECT_NE(status.message().find("64 bits"), std::string_view::npos) << source;
  }
  EXPECT_TRUE(status_of("{{ (-9223372036854775807 - 1) % -1 }}").ok());
  EXPECT_TRUE(
      status_of("{{ 'abc'[-9223372036854775807:9223372036854775807:9223372036854775807] }}").ok());
  EXPECT_TRUE(
      status_of("{{ 'abc'[::-9223372036854775807] }}{{ [1,2][9223372036854775807:] }}").ok());
  EXPECT_TRUE(status_of("{{ 'abc'.find('b', -9223372036854775807, 9223372036854775807) }}").ok());
}

TEST(HostileTemplate, nothing_but_data_can_be_reached) {
  for (const char* source :
       {"{{ ''.__class__.__mro__[1].__subclasses__() }}", "{{ messages.__class__.__base__ }}",
        "{{ range.__globals__.x }}", "{{ namespace.__init__.__globals__['os'] }}",
        "{{ ''['__class__']['__mro__'] }}", "{{ (messages|attr('__class__')).x }}",
        "{{ '{0.__class__.__mro__}'.format('') }}", "{{ self._TemplateReference__context.x }}",
        "{{ cycler.__init__.x }}", "{{ lipsum.__globals__.x }}", "{{ messages.append(1) }}",
        "{{ messages.clear() }}", "{% include 'x' %}", "{% import 'x' as y %}",
        "{% extends 'x' %}"}) {
    EXPECT_FALSE(status_of(source).ok()) << source;
  }
}

TEST(HostileTemplate, inputs_are_checked) {
  ChatInputs inputs;
  inputs.messages = "not a list";
  EXPECT_EQ(status_of("x", inputs).code(), Code::kInvalidArgument);
  inputs.messages = ChatJson::array({1});
  EXPECT_EQ(status_of("x", inputs).code(), Code::kInvalidArgument);
  inputs.messages = ChatJson::array();
  inputs.variables = ChatJson::array();
  EXPECT_EQ(status_of("x", inputs).code(), Code::kInvalidArgument);
  inputs.variables = nullptr;
  for (int i = 0; i < 200; ++i) inputs.tools = ChatJson::array({inputs.tools});
  const Status deep = status_of("x", inputs);
  EXPECT_EQ(deep.code(), Code::kExhausted);
  EXPECT_NE(deep.message().find("kMaxJsonDepth"), std::string_view::npos);
}

TEST(HostileTemplate, json_text_is_limited_before_it_is_parsed) {
  EXPECT_EQ(parse_chat_json(std::string(1'000'000, '[')).status().code(), Code::kExhausted);
  EXPECT_EQ(parse_chat_json(repeat("{\"a\":", 100'000)).status().code(), Code::kExhausted);
  EXPECT_EQ(parse_chat_json("[1, 2").status().code(), Code::kCorrupt);
  EXPECT_EQ(parse_chat_json("").status().code(), Code::kCorrupt);
  EXPECT_TRUE(parse_chat_json("[\"[[[[{{{{\"]").ok());
  EXPECT_TRUE(parse_chat_json(repeat("[", 128) + repeat("]", 128)).ok());
  EXPECT_FALSE(parse_chat_json(repeat("[", 129) + repeat("]", 129)).ok());
}

}  // namespace
}  // namespace bp
