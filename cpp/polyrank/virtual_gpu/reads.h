// What a program is given where it reads data that a virtual GPU without bytes does not have.
#pragma once

#include <ATen/core/Tensor.h>
#include <c10/core/Scalar.h>
#include <polyrank/core/export.h>

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

namespace polyrank {

// NOTE [Stand-ins]
// The host can read a GPU's data in a few ways only: as a number (item(), a branch), as a copy on
// the CPU, and by operators whose results have as many elements as the data says (nonzero(),
// masks). Each is given a stand-in, and each line that read one is kept, with what it was given:
//   a float     1        a loss, a norm
//   an int      1        a count
//   a bool      false    a flag that something went wrong
//   a size      the largest that it can be (every element is chosen)
// So nothing is assumed silently, and who wants none can have an error.
//
// A loop that reads until a value changes never ends, since stand-ins don't change. A line that has
// read one so often is told once, while it runs: more than any model has parameters (a line may
// read each of them), and few enough to be there in seconds.
inline constexpr std::int64_t kReadsOfLoop = 2000;

enum class OnRead : std::uint8_t { kAssume, kRefuse };

// A line that read data, with what it was given.
struct DataRead {
  std::string line;  // "train.py:88"; empty: not known
  std::string operation;
  std::string assumed;
  std::int64_t count = 0;
};

// The stand-in for elements of that dtype.
c10::Scalar stand_in(at::ScalarType dtype);

// Keeps that the running line read something, and what it was given.
// Throws: UnsupportedOpError where reads are refused.
void note_read(const std::string& operation, const std::string& assumed);

// Told of a read that a line has done kReadsOfLoop times, on that line's thread.
using OnLoop = std::function<void(const DataRead&)>;

// What was read since the last clear_reads(), in the order of the first time.
POLYRANK_API std::vector<DataRead> data_reads();
POLYRANK_API void clear_reads(OnRead on_read, OnLoop on_loop = nullptr);

}  // namespace polyrank
