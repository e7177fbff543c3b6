// SPDX-License-Identifier: Apache-2.0
// Chat templates: turns a conversation into the text that a model was trained to read.
//
// A model file carries its template as Jinja source. This is an interpreter of the part of Jinja
// that such templates use, with the results of Hugging Face's sandboxed environment (trim_blocks,
// lstrip_blocks, loop controls, their `tojson`), byte for byte. A template is code from a stranger:
// it reaches nothing but the data given to render(), it cannot do I/O, read the clock or change its
// inputs, and every resource it spends is capped by RenderLimits.
//
//   auto chat_template = BP_TRY(ChatTemplate::parse(source));
//   ChatInputs inputs;
//   inputs.messages = BP_TRY(parse_chat_json(R"([{"role": "user", "content": "Hello"}])"));
//   inputs.special_tokens = {{"bos_token", "<s>"}, {"eos_token", "</s>"}};
//   auto prompt = BP_TRY(chat_template.render(inputs));
//
// What came from whom. The rendered text knows of every byte whether the template wrote it
// (scaffold) or the caller's data did (content), through concatenation, slices, trim, replace,
// tojson and every other operation. Tokenize the text as one piece, but recognise special tokens
// only where the whole token lies inside scaffold: then a user who types "<|im_end|>" sends six
// ordinary characters, never the control token.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/base/json_release.h"
#include "core/base/status.h"
#include "core/text/template/chat_json.h"
#include "core/text/template/rendered_text.h"

namespace bp {

// Moved, never copied: a conversation may be large, and a copy that runs out of memory half way is
// destroyed by the JSON library, which needs memory for that.
struct ChatInputs {
  ChatInputs() = default;
  ChatInputs(ChatInputs&&) = default;
  ChatInputs& operator=(ChatInputs&&) = default;
  ~ChatInputs() {  // without allocating, see json_release.h
    for (ChatJson* json : {&messages, &tools, &documents, &variables}) {
      release_json(*json);
    }
  }

  // An array of objects, in order; keys as the template wants them ("role", "content",
  // "tool_calls", …). Everything in it is content, except that the "role" of a message, when it is
  // one of the names that chat protocols define ("user", "assistant", "tool", …), is scaffold: some
  // templates build their control tokens from it.
  ChatJson messages = ChatJson::array();
  // Array of JSON schemas, or null when the request has none: the template then sees None, as it
  // does under Hugging Face. The same holds for documents.
  ChatJson tools;
  ChatJson documents;
  bool add_generation_prompt = true;
  // Variables that name special tokens: {"bos_token", "<s>"}, {"eos_token", …}. Scaffold.
  std::vector<std::pair<std::string, std::string>> special_tokens;
  // Further variables by name (enable_thinking, reasoning_effort, …), an object or null. They win
  // over every variable above, as keyword arguments do under Hugging Face. Content.
  ChatJson variables;
  // What strftime_now() formats: seconds since 1970-01-01 00:00 of the *local* clock, that is Unix
  // time plus the zone's offset. Absent: a template that asks for the time gets an error.
  std::optional<int64_t> now_local_seconds;
  RenderLimits limits;
};

namespace jinja {
struct Program;  // the parsed template
}

// A parsed template. Immutable; copies share one program; every method may be called from any
// number of threads at once.
class ChatTemplate {
 public:
  // CORRUPT with the line for a syntax error, UNIMPLEMENTED for a statement, filter or test that
  // this interpreter does not know, EXHAUSTED for a source that is too long or nested too deeply.
  static Result<ChatTemplate> parse(std::string_view source);

  // INVALID_ARGUMENT when the template refuses the conversation with raise_exception() or fails on
  // it (the message is Jinja's, after "chat template, line N: "), EXHAUSTED when a limit is
  // crossed, FAILED_PRECONDITION when it asks for a time that was not given.
  Result<RenderedPrompt> render(const ChatInputs& inputs) const;

  // Does the template mention this global variable anywhere ("tools", "enable_thinking")? A
  // conservative answer for callers that want to warn about arguments without effect.
  bool mentions(std::string_view variable) const;

 private:
  explicit ChatTemplate(std::shared_ptr<const jinja::Program> program);
  std::shared_ptr<const jinja::Program> program_;
};

// Parses JSON text for ChatInputs. The size and the nesting are limited (kMaxJsonBytes,
// kMaxJsonDepth of core/base/limits.h). CORRUPT when it is not JSON, EXHAUSTED beyond a limit and
// when memory is out.
Result<ChatJson> parse_chat_json(std::string_view text);

}  // namespace bp
