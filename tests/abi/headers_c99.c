/* SPDX-License-Identifier: Apache-2.0 */
/* Both contracts compile as C99, together and with their initialisers. */
#include "backplane/backplane.h"
#include "backplane/plugin.h"

int bp_headers_compile(void);
int bp_headers_compile(void) {
  bp_error error = BP_ERROR_INIT;
  bp_model_options model = BP_MODEL_OPTIONS_INIT;
  bp_session_options session = BP_SESSION_OPTIONS_INIT;
  bp_generate_options generate = BP_GENERATE_OPTIONS_INIT;
  bp_chat_request chat = BP_CHAT_REQUEST_INIT;
  bp_event event = BP_EVENT_INIT;
  bp_plugin_desc desc = {0};
  desc.size = sizeof desc;
  return (int)(error.size + model.size + session.size + generate.size + chat.size + event.size +
               desc.size);
}
