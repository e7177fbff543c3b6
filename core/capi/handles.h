// SPDX-License-Identifier: Apache-2.0
// The structs behind the opaque handles of backplane.h.
#pragma once

#include <memory>
#include <string>

#include "core/engine/session.h"

struct bp_model {
  std::shared_ptr<bp::Model> model;
};

struct bp_session {
  std::unique_ptr<bp::Session> session;
  std::string device;
};

namespace bp::capi {

// Reads a chat request. Defined in text.cc.
Result<ChatInputs> chat_inputs_of(const bp_chat_request* request);
// Reads session options. Defined in session.cc.
Result<SessionOptions> session_options_of(const bp_session_options* options);
// A copy of a text that stays valid for the process's life. Defined in library.cc.
bp_string keep(std::string_view text);

}  // namespace bp::capi
