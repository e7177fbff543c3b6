// SPDX-License-Identifier: Apache-2.0
// The printer that all dialects share. A dialect overrides spellings and decides nothing else:
// what a device lacks was rewritten by legalize() before.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "kernels/ir/caps.h"
#include "kernels/ir/ir.h"

namespace bp::kernels {

class Printer {
 public:
  Printer(const Kernel& kernel, const Caps& caps) : kernel_(kernel), caps_(caps) {}
  virtual ~Printer() = default;
  Printer(const Printer&) = delete;
  Printer& operator=(const Printer&) = delete;
  std::string print();

 protected:
  // Everything before the body's first statement: extensions, inline functions, declarations of
  // buffers, params and shared arrays, the opening brace.
  virtual void begin() = 0;
  virtual std::string type_name(Type type) const = 0;
  virtual std::string leaf(Op op) const = 0;  // group, thread and subgroup numbers
  virtual std::string param(uint32_t index) const = 0;
  // The place of one access: readable, and assignable where the buffer is written.
  virtual std::string element(uint32_t buffer, uint32_t lanes, const std::string& index) const = 0;
  // Function name of an operation on operands of this kind.
  virtual std::string function(Op op, Kind kind) const = 0;
  virtual std::string cast(Type to, const std::string& x) const = 0;
  virtual std::string bitcast(Kind from, Kind to, const std::string& x) const = 0;
  virtual std::string make_vec(Type type, const std::string& list) const = 0;
  virtual std::string shuffle(Kind kind, const std::string& x, uint64_t mask) const = 0;
  virtual std::string atomic_add(uint32_t buffer, const std::string& index,
                                 const std::string& x) const = 0;
  virtual std::string barrier(uint64_t flags) const = 0;  // kBarrier…, any that caps_ allow
  virtual std::string unroll(uint64_t factor) const = 0;  // a line before `for`, or empty
  // Fragments. A loaded one is `second` where products take it as b. `index` and `stride` count the
  // array's elements.
  virtual std::string fragment_type(bool second) const;
  virtual std::string fragment_load(const SharedArray& from, const std::string& index,
                                    const std::string& stride, bool second) const;
  virtual std::string fragment_store(const SharedArray& to, const std::string& index,
                                     const std::string& stride, const std::string& sums) const;
  // For launches that begin early: the statement after which memory may be touched.
  virtual std::string await() const { return {}; }

  bool uses(Op op) const;
  // Widths (1, 2, 4 as bits) of the accesses to a buffer.
  uint32_t widths(uint32_t buffer) const;
  void line(std::string_view text);
  void raw(std::string_view text) { out_ += text; }

  const Kernel& kernel_;
  const Caps& caps_;

 private:
  void analyse();
  bool inlines(ValueId at, const std::string& text) const;
  void statement(ValueId at);
  void define(ValueId at, const std::string& text);
  bool is_second(ValueId load) const;  // of the two inputs of its products
  std::string expression(ValueId at) const;
  std::string arithmetic(const Inst& inst) const;
  std::string constant(Kind kind, uint32_t bits) const;
  const std::string& arg(const Inst& inst, size_t i) const { return text_[inst.arg[i]]; }

  std::string out_;
  size_t depth_ = 1;
  std::vector<std::string> text_;   // by value: its name, or the expression itself
  std::vector<uint32_t> uses_;      // by value
  std::vector<ValueId> user_;       // by value: the last user
  std::vector<uint32_t> effects_;   // effects before each position
  std::vector<uint32_t> brackets_;  // brackets before each position
  std::vector<bool> reads_;         // by value: an expression that reads memory or a variable
};

}  // namespace bp::kernels
