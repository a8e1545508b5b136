// The store of a rank that has nobody to talk to.
#pragma once

#include <polyrank/core/export.h>

#include <chrono>
#include <cstdint>
#include <string>
#include <torch/csrc/distributed/c10d/HashStore.hpp>
#include <vector>

namespace polyrank {

// Holds what this rank puts in. What others would put in never comes, so waiting for a key ends at
// once, as do barriers, and reading a key that this rank did not set is an error at once instead of
// after the time-out.
//
// Thread rule: safe from any thread.
class POLYRANK_API FakeStore final : public c10d::HashStore {
 public:
  c10::intrusive_ptr<c10d::Store> clone() override;

  // Throws: CollectiveError if this rank did not set the key, naming it.
  std::vector<std::uint8_t> get(const std::string& key) override;
  std::vector<std::vector<std::uint8_t>> multiGet(const std::vector<std::string>& keys) override;

  void wait(const std::vector<std::string>& /*keys*/) override {}
  void wait(const std::vector<std::string>& /*keys*/,
            const std::chrono::milliseconds& /*timeout*/) override {}
  void barrier(const std::string& /*key*/, std::int64_t /*world_size*/,
               const std::chrono::milliseconds& /*timeout*/) override {}

  // Throws: as get(), if nothing was pushed.
  std::vector<std::uint8_t> queuePop(const std::string& key, bool block) override;
};

}  // namespace polyrank
