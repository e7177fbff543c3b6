/* SPDX-License-Identifier: Apache-2.0 */
/* Generates text from a model file through the C API:
 *   generate MODEL.bpm "Tell me a story" [DEVICE]
 */
#include <stdio.h>
#include <string.h>

#include "backplane/backplane.h"

static int32_t print_piece(void *user, const bp_event *event) {
  fwrite(event->text.data, 1, event->text.length, (FILE *)user);
  fflush((FILE *)user);
  return 0;
}

static int fail(const char *what, const bp_error *error) {
  fprintf(stderr, "%s: %s: %s\n", what, bp_status_name(error->status), error->text);
  return 1;
}

int main(int argc, char **argv) {
  bp_error error = BP_ERROR_INIT;
  bp_model_info info;
  bp_model *model = NULL;
  bp_session *session = NULL;
  bp_session_options session_options = BP_SESSION_OPTIONS_INIT;
  bp_generate_options options = BP_GENERATE_OPTIONS_INIT;
  int result = 0;
  if (argc < 3) {
    fprintf(stderr, "usage: generate MODEL.bpm PROMPT [DEVICE]\n");
    return 2;
  }
  if (bp_model_open(argv[1], NULL, &model, &error) != BP_OK) return fail("open", &error);
  memset(&info, 0, sizeof info);
  info.size = sizeof info;
  bp_model_describe(model, &info, NULL);
  fprintf(stderr, "%.*s, %llu parameters\n", (int)info.name.length, info.name.data,
          (unsigned long long)info.parameters);

  session_options.device.data = argc > 3 ? argv[3] : "auto";
  session_options.device.length = strlen(session_options.device.data);
  options.temperature = 0.0f;
  options.max_tokens = 64;
  if (bp_session_create(model, &session_options, &session, &error) != BP_OK) {
    result = fail("session", &error);
  } else if (bp_session_feed_text(session, argv[2], strlen(argv[2]), 0, &error) != BP_OK) {
    result = fail("prompt", &error);
  } else if (bp_session_generate(session, &options, print_piece, stdout, NULL, &error) != BP_OK) {
    result = fail("generate", &error);
  }
  printf("\n");
  bp_session_destroy(session);
  bp_model_close(model);
  return result;
}
