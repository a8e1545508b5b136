// What the C++ program of one rank is given.
#pragma once

#include <polyrank/core/export.h>
#include <polyrank/world/rank_backend.h>

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

namespace polyrank {

// The rank, whatever ranks are made of, and its process groups.
class POLYRANK_API RankContext {
 public:
  // Makes a group of the rank's, of these global ranks.
  using MakeGroup = std::function<c10::intrusive_ptr<RankBackend>(
      const std::string& name, const std::vector<std::int64_t>& members)>;

  RankContext(std::int64_t rank, std::int64_t world_size, MakeGroup make_group);

  std::int64_t rank() const noexcept { return rank_; }
  std::int64_t world_size() const noexcept { return world_->getSize(); }

  // The group of all ranks.
  RankBackend& world() noexcept { return *world_; }

  // The group of these global ranks, in this order. Each member makes it, under the same name.
  // Throws: UsageError if the rank is not among them, one is no rank or stands there twice;
  //         CollectiveMismatchError if the group was made with other members.
  c10::intrusive_ptr<RankBackend> new_group(const std::string& name,
                                            const std::vector<std::int64_t>& members) {
    return make_group_(name, members);
  }

 private:
  std::int64_t rank_;
  MakeGroup make_group_;
  c10::intrusive_ptr<RankBackend> world_;
};

}  // namespace polyrank
