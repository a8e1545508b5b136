// Short ways to write launches down.
#pragma once

#include <polyrank/matching/launch.h>

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace polyrank {

inline Launch all_reduce(std::vector<std::int64_t> sizes, ReduceOp op = ReduceOp::kSum,
                         const std::string& where = "") {
  return {.kind = CollectiveKind::kAllReduce,
          .inputs = {{"float32", std::move(sizes)}},
          .reduce_op = op,
          .where = where};
}

inline Launch broadcast(std::int64_t root, const std::string& where = "") {
  return {.kind = CollectiveKind::kBroadcast,
          .inputs = {{"float32", {4}}},
          .root = root,
          .where = where};
}

inline Launch barrier() { return {.kind = CollectiveKind::kBarrier}; }

inline Launch send_of(std::int64_t numel, const std::string& where = "") {
  return {.kind = CollectiveKind::kSend, .inputs = {{"float32", {numel}}}, .where = where};
}

inline Launch recv_of(std::int64_t numel, const std::string& where = "") {
  return {.kind = CollectiveKind::kReceive, .outputs = {{"float32", {numel}}}, .where = where};
}

// all_to_all_single of `rows` rows of two elements.
inline Launch all_to_all(const std::vector<std::int64_t>& input_split_sizes,
                         const std::vector<std::int64_t>& output_split_sizes,
                         std::int64_t input_rows, std::int64_t output_rows) {
  return {.kind = CollectiveKind::kAllToAll,
          .inputs = {{"float32", {input_rows, 2}}},
          .outputs = {{"float32", {output_rows, 2}}},
          .input_split_sizes = input_split_sizes,
          .output_split_sizes = output_split_sizes};
}

}  // namespace polyrank
