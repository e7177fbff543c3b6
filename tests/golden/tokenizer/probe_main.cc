// SPDX-License-Identifier: Apache-2.0
// bp_tokenizer_probe SOURCE: for each line of hexadecimal bytes on stdin, a line
//   plain ids | ids with special tokens | the latter decoded | … with special tokens shown
// texts again in hexadecimal. compare.py drives it. With --speed FILE it times one text instead.
#include <chrono>
#include <cstdio>
#include <iostream>
#include <string>

#include "core/platform/file.h"
#include "tests/golden/tokenizer/probe.h"

namespace bp {
namespace {

int hex_digit(char c) {
  return c <= '9' ? c - '0' : c - 'a' + 10;
}

std::string from_hex(const std::string& hex) {
  std::string out;
  for (size_t i = 0; i + 1 < hex.size(); i += 2) {
    out.push_back(static_cast<char>(hex_digit(hex[i]) * 16 + hex_digit(hex[i + 1])));
  }
  return out;
}

void print_ids(const std::vector<text::TokenId>& ids) {
  const char* between = "";
  for (const text::TokenId id : ids) {
    std::printf("%s%d", between, id);
    between = " ";
  }
}

void print_hex(const std::string& text) {
  for (const char c : text)
    std::printf("%02x", static_cast<unsigned>(static_cast<unsigned char>(c)));
}

Status answer(const text::Tokenizer& tokenizer, const std::string& text) {
  text::EncodeOptions plain;
  plain.bos = plain.eos = text::Affix::kNever;
  text::EncodeOptions special;
  special.parse_special = true;
  const auto ids = BP_TRY(tokenizer.encode(text, special));
  print_ids(BP_TRY(tokenizer.encode(text, plain)));
  std::printf("|");
  print_ids(ids);
  std::printf("|");
  print_hex(BP_TRY(tokenizer.decode(ids, true)));
  std::printf("|");
  print_hex(BP_TRY(tokenizer.decode(ids, false)));
  std::printf("\n");
  return {};
}

Status time_text(const text::Tokenizer& tokenizer, const std::string& path) {
  const std::string text = BP_TRY(read_text_file(path, uint64_t{1} << 30));
  for (int round = 0; round < 3; ++round) {
    const auto start = std::chrono::steady_clock::now();
    const auto ids = BP_TRY(tokenizer.encode(text));
    const std::chrono::duration<double> took = std::chrono::steady_clock::now() - start;
    const auto middle = std::chrono::steady_clock::now();
    const std::string back = BP_TRY(tokenizer.decode(ids));
    const std::chrono::duration<double> back_took = std::chrono::steady_clock::now() - middle;
    std::printf("%zu bytes, %zu tokens: encode %.3f s, %.1f MB/s; decode %.3f s%s\n", text.size(),
                ids.size(), took.count(), static_cast<double>(text.size()) / took.count() / 1e6,
                back_took.count(), back == text ? "" : " (not the same text)");
  }
  return {};
}

Status run(int argc, char** argv) {
  const auto start = std::chrono::steady_clock::now();
  const auto tokenizer = BP_TRY(open_tokenizer(argv[1]));
  if (argc == 4 && std::string(argv[2]) == "--speed") {
    const std::chrono::duration<double> took = std::chrono::steady_clock::now() - start;
    std::printf("opened in %.3f s\n", took.count());
    return time_text(*tokenizer, argv[3]);
  }
  for (std::string line; std::getline(std::cin, line);) {
    BP_TRY(answer(*tokenizer, from_hex(line)));
  }
  return {};
}

}  // namespace
}  // namespace bp

int main(int argc, char** argv) {
  if (argc != 2 && argc != 4) {
    std::fprintf(stderr, "usage: %s SOURCE [--speed FILE]\n", argv[0]);
    return 2;
  }
  const bp::Status status = bp::run(argc, argv);
  if (status.ok()) return 0;
  std::fprintf(stderr, "%s\n", status.to_string().c_str());
  return 1;
}
