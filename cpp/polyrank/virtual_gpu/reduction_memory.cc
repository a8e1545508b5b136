#include <polyrank/core/ceil_div.h>
#include <polyrank/virtual_gpu/devices.h>
#include <polyrank/virtual_gpu/reduction_memory.h>

#include <algorithm>
#include <bit>
#include <cstdint>
#include <limits>
#include <vector>

namespace polyrank {

namespace {

constexpr std::int64_t kMostResults = 4;  // neighbors that a thread has
constexpr std::int64_t kWarp = 32;
constexpr std::int64_t kMostThreads = 512;  // of a block
constexpr std::int64_t kLeastVectorized = 128;
constexpr std::int64_t kLeastValues = 16;  // of a thread
constexpr std::int64_t kMostValues = 256;
constexpr std::int64_t kSemaphore = 4;

std::int64_t last_power_of_2(std::int64_t value) {
  return static_cast<std::int64_t>(
      std::bit_floor(static_cast<std::uint64_t>(std::max<std::int64_t>(value, 1))));
}

struct Dimension {
  std::int64_t size;
  std::int64_t stride;
  bool is_reduced;
};

// Those that have more than one element: reduced ones first, and the fastest of each first, merged
// where one goes on where the other ends, as TensorIterator has them.
std::vector<Dimension> dimensions_of(const at::Tensor& self,
                                     const std::vector<std::int64_t>& reduced) {
  std::vector<Dimension> found;
  for (std::int64_t i = 0; i < self.dim(); ++i) {
    const bool is_reduced = reduced.empty() || std::ranges::any_of(reduced, [&](std::int64_t dim) {
                              return (dim + self.dim()) % self.dim() == i;
                            });
    if (self.size(i) > 1) {
      found.push_back({self.size(i), self.stride(i), is_reduced});
    }
  }
  std::ranges::stable_sort(found, [](const Dimension& a, const Dimension& b) {
    return a.is_reduced != b.is_reduced ? a.is_reduced : a.stride < b.stride;
  });
  std::vector<Dimension> merged;
  for (const Dimension& one : found) {
    if (!merged.empty() && merged.back().is_reduced == one.is_reduced &&
        merged.back().stride * merged.back().size == one.stride) {
      merged.back().size *= one.size;
    } else {
      merged.push_back(one);
    }
  }
  return merged;
}

// Numbers of elements fit into 32 bits, or the kernel runs on halves.
void halve_until_small(std::vector<Dimension>& dimensions, std::int64_t element_bytes) {
  const auto extent = [](const Dimension& one) { return (one.size - 1) * one.stride; };
  while (!dimensions.empty()) {
    std::int64_t bytes = element_bytes;
    for (const Dimension& one : dimensions) {
      bytes += extent(one) * element_bytes;
    }
    if (bytes <= std::numeric_limits<std::int32_t>::max()) {
      return;
    }
    Dimension& longest = *std::ranges::max_element(dimensions, {}, extent);
    longest.size = ceil_div(longest.size, 2);
  }
}

std::int64_t product_of(const std::vector<Dimension>& dimensions, bool is_reduced) {
  std::int64_t product = 1;
  for (const Dimension& one : dimensions) {
    product *= one.is_reduced == is_reduced ? one.size : 1;
  }
  return product;
}

// How many neighboring results a thread has, where these lie one after the other.
std::int64_t results_of_thread(const std::vector<Dimension>& dimensions, std::size_t fastest) {
  std::int64_t count = kMostResults;
  for (std::size_t i = 0; i < dimensions.size(); ++i) {
    const std::int64_t divisible = i == fastest ? dimensions[i].size : dimensions[i].stride;
    while (divisible % count != 0) {
      count /= 2;
    }
  }
  return count;
}

struct Block {
  std::int64_t width;
  std::int64_t height;
};

Block block_of(std::int64_t along, std::int64_t across, std::int64_t most_threads) {
  const std::int64_t wide = std::min(last_power_of_2(along), most_threads);
  const std::int64_t high = std::min(last_power_of_2(across), most_threads);
  const std::int64_t height = std::min(high, most_threads / std::min(wide, kWarp));
  return {std::min(wide, most_threads / height), height};
}

std::int64_t threads_of_multiprocessor() {
  const bool is_small_gpu = virtual_gpus().major == 8 && virtual_gpus().minor > 0;
  return is_small_gpu ? 1536 : 2048;
}

// What a kernel for reductions is made with.
struct Reducer {
  std::int64_t sum_bytes;  // of what a thread has of a result
  std::int64_t vector;     // values of a row that it loads at once
};

PieceSizes staged(const std::vector<Dimension>& dimensions, const Reducer& reducer) {
  const std::int64_t results = product_of(dimensions, false);
  const std::int64_t values = product_of(dimensions, true);
  const auto first_kept = std::ranges::find(dimensions, false, &Dimension::is_reduced);
  const bool is_along_fastest =
      first_kept == dimensions.end() ||
      (dimensions.front().is_reduced && dimensions.front().stride < first_kept->stride);
  const auto fastest =
      is_along_fastest ? std::size_t{0} : static_cast<std::size_t>(first_kept - dimensions.begin());
  const std::int64_t num_reduced = first_kept - dimensions.begin();

  std::int64_t along = is_along_fastest ? values : results;
  std::int64_t results_a_thread = 1;
  if (dimensions[fastest].stride == 1) {
    if (!is_along_fastest) {
      results_a_thread = results_of_thread(dimensions, fastest);
      along /= results_a_thread;
    } else if (along >= kLeastVectorized && num_reduced == 1) {
      along /= reducer.vector;
    }
  }
  const Block block =
      block_of(along, is_along_fastest ? results : values, kMostThreads / results_a_thread);
  std::int64_t step_of_values = is_along_fastest ? block.width : 1;
  std::int64_t step_of_results = is_along_fastest ? 1 : block.width;
  const std::int64_t values_a_thread = ceil_div(values, step_of_values);
  const bool is_split_in_block =
      values_a_thread >= block.height * kLeastValues || values_a_thread >= kMostValues;
  (is_split_in_block ? step_of_values : step_of_results) *= block.height;

  const std::int64_t blocks = ceil_div(results / results_a_thread, step_of_results);
  const std::int64_t most_blocks = virtual_gpus().num_multiprocessors *
                                   (threads_of_multiprocessor() / (block.width * block.height));
  const std::int64_t left = ceil_div(values, step_of_values);
  if (!is_split_in_block || left < kMostValues || blocks > most_blocks) {
    return {};
  }
  const std::int64_t shares =
      std::max(std::min(ceil_div(most_blocks, blocks), ceil_div(left, kLeastValues)),
               ceil_div(left, kMostValues));
  if (shares <= 1) {
    return {};
  }
  const std::int64_t own = is_along_fastest ? 1 : block.width * results_a_thread;
  return {reducer.sum_bytes * results * shares * own, kSemaphore * blocks};
}

PieceSizes staged_of(const OperatorArguments& call, const Reducer& reducer) {
  const at::Tensor self = call.tensor("self");
  if (!self.defined() || self.numel() == 0) {
    return {};
  }
  std::vector<Dimension> dimensions = dimensions_of(self, call.integers("dim"));
  if (dimensions.empty() || !dimensions.front().is_reduced) {
    return {};
  }
  halve_until_small(dimensions, static_cast<std::int64_t>(self.element_size()));
  return staged(dimensions, reducer);
}

constexpr std::int64_t kFloat = 4;
constexpr std::int64_t kLong = 8;

}  // namespace

PieceSizes staged_by_reduction(const OperatorArguments& call) {
  // Half precision adds up in float, and integers in the longest.
  const at::Tensor self = call.tensor("self");
  const bool is_integer = c10::isIntegralType(self.scalar_type(), /*includeBool=*/true);
  const auto element_bytes = static_cast<std::int64_t>(self.element_size());
  return staged_of(
      call, {.sum_bytes = is_integer ? kLong : std::max(kFloat, element_bytes), .vector = 4});
}

PieceSizes staged_by_variance(const OperatorArguments& call) {
  // A mean, squares, and how many there were, as an integer and as a floating number.
  const bool is_double = call.tensor("self").scalar_type() == at::kDouble;
  return staged_of(call, {.sum_bytes = 4 * (is_double ? kLong : kFloat), .vector = 2});
}

}  // namespace polyrank
