#include <polyrank/matching/launch.h>

#include <algorithm>
#include <functional>
#include <numeric>
#include <sstream>

namespace polyrank {

namespace {

// A list that repeats one shape is written once: "8 x float32[4]".
void write_shapes(const BoardList<TensorShape>& shapes, std::ostringstream* out) {
  constexpr std::size_t kShown = 8;
  const bool all_equal = std::all_of(shapes.begin(), shapes.end(), [&](const TensorShape& shape) {
    return shape == shapes.front();
  });
  if (shapes.size() > 1 && all_equal) {
    *out << shapes.size() << " x " << to_string(shapes.front());
    return;
  }
  for (std::size_t i = 0; i < std::min(shapes.size(), kShown); ++i) {
    *out << (i == 0 ? "" : ", ") << to_string(shapes[i]);
  }
  if (shapes.size() > kShown) {
    *out << ", … (" << shapes.size() << " tensors)";
  }
}

void write_numbers(const char* name, const BoardList<std::int64_t>& numbers,
                   std::ostringstream* out) {
  if (numbers.empty()) {
    return;
  }
  *out << " " << name << "=[";
  for (std::size_t i = 0; i < numbers.size(); ++i) {
    *out << (i == 0 ? "" : ", ") << numbers[i];
  }
  *out << "]";
}

}  // namespace

std::int64_t TensorShape::numel() const noexcept {
  return std::accumulate(sizes.begin(), sizes.end(), std::int64_t{1}, std::multiplies<>());
}

std::string to_string(const TensorShape& shape) {
  std::ostringstream out;
  out << shape.dtype << "[";
  for (std::size_t i = 0; i < shape.sizes.size(); ++i) {
    out << (i == 0 ? "" : ", ") << shape.sizes[i];
  }
  out << "]";
  write_numbers("strides", shape.strides, &out);
  return out.str();
}

std::string to_string(const Launch& launch) {
  std::ostringstream out;
  out << to_string(launch.kind);
  if (has_root(launch.kind)) {
    out << "(root " << launch.root;
    if (launch.reduce_op) {
      out << ", " << to_string(*launch.reduce_op);
    }
    out << ")";
  } else if (launch.reduce_op) {
    out << "(" << to_string(*launch.reduce_op) << ")";
  }
  // What the others must fit to: what a scatter gives, and what anything else takes.
  const auto& shapes = launch.inputs.empty() ? launch.outputs : launch.inputs;
  if (!shapes.empty()) {
    out << " ";
    write_shapes(shapes, &out);
  }
  write_numbers("input_split_sizes", launch.input_split_sizes, &out);
  write_numbers("output_split_sizes", launch.output_split_sizes, &out);
  return out.str();
}

}  // namespace polyrank
