// SPDX-License-Identifier: Apache-2.0
// Runs the independent Python reader over a file that the writer made, and compares what it says
// with what we know: names, shapes, steps, and every value of every format that it decodes.
#include <gtest/gtest.h>

#include <cstdio>
#include <fstream>
#include <sstream>
#include <string>

#include "backplane/dequantize.h"
#include "model_format/reader.h"
#include "model_format/tiny_model.h"

namespace bp {
namespace {

struct Output {
  int status = -1;
  std::string text;
};

Output run_reader(const std::filesystem::path& file, const std::string& tensor = {}) {
  std::string command =
      std::string("'" BP_PYTHON "' '" BP_SOURCE_DIR "/tests/format/read_bpm.py' '") +
      file.native() + "'";
  if (!tensor.empty()) command += " '" + tensor + "'";
  command += " 2>&1";
  Output output;
  FILE* pipe = ::popen(command.c_str(), "r");
  if (pipe == nullptr) return output;
  char buffer[4096];
  for (size_t got; (got = std::fread(buffer, 1, sizeof(buffer), pipe)) > 0;) {
    output.text.append(buffer, got);
  }
  output.status = ::pclose(pipe);
  return output;
}

class PythonReader : public ::testing::Test {
 protected:
  void SetUp() override {
    const Status status = testing::write_tiny_model(testing::make_tiny_model(true), path_);
    ASSERT_TRUE(status.ok()) << status.to_string();
    file_ = ModelFile::open(path_).value();
  }
  std::vector<float> values_of(uint32_t tensor) const {
    const fb::Tensor& t = *file_->model().tensors()->Get(tensor);
    const WeightFormat& format = *find_weight_format(t.format()->string_view());
    uint64_t elements = 1;
    for (const uint64_t dim : *t.shape()) elements *= dim;
    const std::byte* planes[4] = {};
    for (uint32_t p = 0; p < format.plane_count; ++p) planes[p] = file_->plane(tensor, p).data();
    std::vector<float> values(elements);
    dequantize_blocks(format, planes, 0, elements / format.block_elements, values.data());
    return values;
  }
  testing::TemporaryFolder folder_;
  const std::filesystem::path path_ = folder_.path("tiny.bpm");
  std::shared_ptr<const ModelFile> file_;
};

TEST_F(PythonReader, lists_every_tensor_and_step_after_checking_the_digests) {
  const Output output = run_reader(path_);
  ASSERT_EQ(output.status, 0) << output.text;
  EXPECT_NE(output.text.find("tiny: llama, made by backplane test\n"), std::string::npos);
  for (const auto& tensor : testing::make_tiny_model(true).tensors) {
    std::ostringstream line;
    line << tensor.name << '\t' << tensor.format << "\t[";
    for (size_t d = 0; d < tensor.shape.size(); ++d) line << (d ? ", " : "") << tensor.shape[d];
    line << "]\t";
    EXPECT_NE(output.text.find(line.str()), std::string::npos) << line.str();
  }
  EXPECT_NE(output.text.find("step moe_route v1 layer 1 -> 1/ids, 1/weights\n"), std::string::npos);
  EXPECT_NE(output.text.find("step linear v1 layer -1 -> logits\n"), std::string::npos);
}

TEST_F(PythonReader, decodes_the_same_values) {
  int compared = 0;
  for (const std::string wanted : {"f32", "f16", "bf16", "q8_g32", "q4_g32", "q4_g32z"}) {
    for (uint32_t t = 0; t < file_->tensor_count(); ++t) {
      const fb::Tensor& tensor = *file_->model().tensors()->Get(t);
      if (tensor.format()->string_view() != wanted) continue;
      const Output output = run_reader(path_, tensor.name()->str());
      ASSERT_EQ(output.status, 0) << output.text;
      std::istringstream lines(output.text);
      const std::vector<float> expected = values_of(t);
      for (size_t i = 0; i < expected.size(); ++i) {
        double value = 0;
        ASSERT_TRUE(lines >> value) << tensor.name()->str() << " ends at element " << i;
        ASSERT_EQ(static_cast<float>(value), expected[i]) << tensor.name()->str() << ", " << i;
      }
      std::string rest;
      EXPECT_FALSE(lines >> rest) << "more values than elements";
      ++compared;
      break;  // one tensor of each format
    }
  }
  EXPECT_EQ(compared, 6);
}

TEST_F(PythonReader, finds_a_damaged_weight) {
  std::fstream stream(path_, std::ios::in | std::ios::out | std::ios::binary);
  stream.seekp(static_cast<std::streamoff>(file_->model().segments()->Get(0)->offset()) + 5);
  stream.put('\x7f');
  stream.close();
  const Output output = run_reader(path_);
  EXPECT_NE(output.status, 0);
  EXPECT_NE(output.text.find("damaged embedding"), std::string::npos) << output.text;
}

}  // namespace
}  // namespace bp
