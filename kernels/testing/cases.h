// SPDX-License-Identifier: Apache-2.0
// Kernels of the library with random inputs and a plain C++ reference for the result: what every
// executor (interpreter, PoCL, lavapipe) is held to.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "kernels/interpreter/interpreter.h"
#include "kernels/ir/caps.h"
#include "kernels/ir/ir.h"
#include "kernels/library/gemv.h"
#include "kernels/library/norm.h"
#include "kernels/library/row_sums.h"

namespace bp::kernels::testing {

// Deterministic numbers, the same on every platform (SplitMix64).
class Random {
 public:
  explicit Random(uint64_t seed) : state_(seed) {}
  uint64_t next();
  uint32_t below(uint32_t n) { return static_cast<uint32_t>(next() % n); }
  float uniform(float lo, float hi);
  std::vector<float> uniform(size_t n, float lo, float hi);

 private:
  uint64_t state_;
};

using Words = std::vector<uint32_t>;
Words words_of(const std::vector<float>& values);
std::vector<float> floats_of(const Words& words);
// NaNs that no kernel computes.
Words poison(size_t n);

// Does `got` differ from `want` by at most relative × (largest |want|) + absolute everywhere? The
// first difference is described in *why.
bool close(const std::vector<float>& got, const std::vector<double>& want, double tolerance,
           std::string* why);

double reference_activation(Activation activation, double x);

// Is an int8 value (see library/quantize.h) what `want` rounds to? Empty when it is, else what not.
std::string check_quantized(const Words& quants, const Words& pairs,
                            const std::vector<double>& want);

struct Case {
  std::string name;
  Kernel kernel;               // not legalized
  std::vector<Words> buffers;  // written ones are poisoned
  Words params;
  uint32_t grid_x = 1, grid_y = 1;
  bool partly_written = false;  // outputs may keep words that nothing wrote
  // Empty when the buffers after the run hold what the reference says; else what is wrong.
  std::function<std::string(const std::vector<Words>&)> check;
};

// Weights in the planes of `format`, and the same values as floats [rows, columns].
struct Weights {
  std::vector<Words> planes;
  std::vector<float> values;
};
Weights random_weights(const std::string& format, uint32_t rows, uint32_t columns, Random* random);

// Appends activations as kernels take them, f32 or int8 with scales; *x becomes what they stand
// for.
void append_activations(std::vector<float>* x, bool int8, std::vector<Words>* buffers);

Result<Case> norm_case(const NormSpec& spec, const NormSchedule& schedule, uint32_t rows,
                       uint64_t seed);
Result<Case> gemv_case(const GemvSpec& spec, const GemvSchedule& schedule, uint64_t seed);
// The rows from `first_row` on of a longer y, for any number of tokens.
Result<Case> gemv_case(const GemvSpec& spec, const GemvSchedule& schedule, uint64_t seed,
                       uint32_t all_tokens, uint32_t first_row);

Result<Case> row_sums_case(uint32_t rows, uint32_t columns, uint32_t threads, uint64_t seed);

// One of each family and format, at small awkward shapes, with schedules that `caps` can run.
Result<std::vector<Case>> sample_cases(const Caps& caps);

// Names of all profiles, for parameterised tests.
std::vector<std::string> profile_names();

// Runs a kernel on the case's inputs in the interpreter and checks the result; empty when right.
// Buffers that the kernel writes count as uninitialised, and every word of them must be written.
std::string run_interpreted(const Case& test, const Kernel& kernel, uint64_t seed = 1);

}  // namespace bp::kernels::testing
