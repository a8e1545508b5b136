// What each operation does to one rank's plain numbers.
#pragma once

#include <polyrank/engine/local_number_math.h>
#include <polyrank/engine/local_number_ops.h>

#include <cstdint>

namespace polyrank {

// Null where the operation has no form for a kind of number; see UnaryOp and BinaryOp for which
// form is taken.
struct UnaryForms {
  const char* name;  // Python's: "math.floor"
  CheckedInt (*int_to_int)(std::int64_t);
  CheckedFloat (*float_to_float)(double);
  CheckedInt (*float_to_int)(double);
  Checked<bool> (*float_to_bool)(double);
};
const UnaryForms& forms_of(UnaryOp op);

struct BinaryForms {
  const char* symbol;  // Python's: "//"
  CheckedInt (*on_ints)(std::int64_t, std::int64_t);
  CheckedFloat (*on_floats)(double, double);
  Checked<bool> (*on_bools)(bool, bool);
};
const BinaryForms& forms_of(BinaryOp op);

struct CompareForms {
  const char* symbol;
  Checked<bool> (*on_ints)(std::int64_t, std::int64_t);
  Checked<bool> (*on_floats)(double, double);
};
const CompareForms& forms_of(CompareOp op);

}  // namespace polyrank
