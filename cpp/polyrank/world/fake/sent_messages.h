// What this rank sent, which is what its peers sent, in the fake world.
#pragma once

#include <ATen/core/Tensor.h>
#include <polyrank/core/export.h>

#include <cstdint>
#include <map>
#include <mutex>
#include <tuple>

namespace polyrank {

// The last message of each tag, dtype and number of elements. A receiver gets that one: in a
// program whose ranks all do the same, the message that comes is like the one that was sent, as
// the activations of a pipeline's stages are. Only the last, so that a rank that sends without
// ever receiving keeps no more than one of each.
//
// Thread rule: safe from any thread.
class POLYRANK_API SentMessages {
 public:
  // Keeps a copy.
  void add(std::int64_t tag, const at::Tensor& message);

  // The last message that was like `buffer`; undefined if there is none.
  at::Tensor find(std::int64_t tag, const at::Tensor& buffer) const;

 private:
  using Key = std::tuple<std::int64_t, c10::ScalarType, std::int64_t>;
  static Key key_of(std::int64_t tag, const at::Tensor& tensor);

  mutable std::mutex mutex_;
  std::map<Key, at::Tensor> last_;
};

}  // namespace polyrank
