// SPDX-License-Identifier: Apache-2.0
#include "core/text/template/chat_template.h"

#include <new>
#include <stdexcept>

#include "core/base/json_read.h"
#include "core/base/limits.h"
#include "core/text/template/ast.h"
#include "core/text/template/inputs.h"
#include "core/text/template/machine.h"
#include "core/text/template/parser.h"

namespace bp {
namespace {

Status out_of_memory() {
  return error(Code::kExhausted, "not enough memory for the chat template");
}

Result<RenderedPrompt> render_program(const jinja::Program& program, const ChatInputs& inputs) {
  jinja::Machine machine(program, inputs);
  BP_TRY(jinja::define_inputs(inputs, &machine).with_context("inputs of the chat template"));
  Result<jinja::Text> text = machine.run();
  if (!text.ok()) {
    return std::move(text).status().with_context("chat template, line {}", machine.line());
  }
  RenderedPrompt out;
  out.segments = text.value().segments();
  out.text = std::move(text).value().take_bytes();
  return out;
}

}  // namespace

ChatTemplate::ChatTemplate(std::shared_ptr<const jinja::Program> program)
    : program_(std::move(program)) {}

Result<ChatTemplate> ChatTemplate::parse(std::string_view source) {
  try {
    return ChatTemplate(BP_TRY(jinja::parse_program(source)));
  } catch (const std::bad_alloc&) {
    return out_of_memory();
  } catch (const std::length_error&) {
    return out_of_memory();
  }
}

Result<RenderedPrompt> ChatTemplate::render(const ChatInputs& inputs) const {
  try {
    return render_program(*program_, inputs);
  } catch (const std::bad_alloc&) {
    return out_of_memory();
  } catch (const std::length_error&) {
    return out_of_memory();
  }
}

bool ChatTemplate::mentions(std::string_view variable) const {
  return program_->symbol_of.contains(std::string(variable));
}

Result<ChatJson> parse_chat_json(std::string_view text) {
  if (text.size() > limits::kMaxJsonBytes) {
    return error(Code::kExhausted, "JSON of {} bytes is longer than kMaxJsonBytes = {}",
                 text.size(), limits::kMaxJsonBytes);
  }
  ChatJson json;
  BP_TRY(read_json(text, limits::kMaxJsonDepth, &json));
  return json;
}

}  // namespace bp
