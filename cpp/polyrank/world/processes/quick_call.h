// Small collectives of ranks that are processes: what a member brings, and what all get.
#pragma once

#include <polyrank/core/export.h>
#include <polyrank/exchange/collective_call.h>
#include <polyrank/matching/quick_group.h>
#include <polyrank/report/call_site.h>
#include <polyrank/world/processes/rank_process.h>
#include <polyrank/world/processes/shared_call.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

namespace polyrank {

// Where in the group's result lies what a member gets.
struct QuickGift {
  std::size_t begin = 0;      // bytes
  std::size_t num_bytes = 0;  // 0: it gets nothing
};

// What the member gets, if the call can meet in a quick meeting: one dense tensor of at most
// kMaxQuickBytes, or none, that is reduced, broadcast or gathered, and that the program waits for
// at once. Requires: the call was checked
constexpr std::size_t kMaxQuickBytes = std::size_t{1} << 16;
constexpr std::size_t kMaxQuickResultBytes = std::size_t{1} << 18;
POLYRANK_API std::optional<QuickGift> quick_gift(const CollectiveCall& call,
                                                 std::int64_t group_rank, std::int64_t group_size);

// Makes the group's result of its parts: the values of exchange(), bit for bit.
// Requires: all members have come with SharedCalls of quick calls, which agree; the board memory is
//           shared
// Throws: as exchange().
POLYRANK_API void make_quick_result(QuickGroup* group);

// One rank's member of a group.
//
// Thread rule: the rank's first thread.
class POLYRANK_API QuickMember {
 public:
  QuickMember(std::shared_ptr<RankProcess> rank, QuickGroup* group, std::int64_t group_rank);
  ~QuickMember();
  QuickMember(const QuickMember&) = delete;
  QuickMember& operator=(const QuickMember&) = delete;

  // Whether there is nothing that it would do otherwise.
  bool is_there() const;
  // As SharedRun::meet_quickly().
  SharedRun::QuickEnd meet(const CollectiveCall& call);
  // Copies what the member gets of the meeting that it came to last.
  void take(const QuickGift& gift, const CollectiveCall& call) const;

 private:
  // What a part says, as far as it can be another one's.
  struct Saying {
    const CollectiveSpec* spec = nullptr;
    std::int64_t root = 0;
    ReduceOp reduce_op = ReduceOp::kSum;
    c10::ScalarType dtype = c10::ScalarType::Undefined;
    std::vector<std::int64_t> sizes;  // of the input
    SourceLine line;
    bool operator==(const Saying&) const = default;
  };
  static Saying saying_of(const CollectiveCall& call);
  std::byte* own_values() const;

  std::shared_ptr<RankProcess> rank_;
  QuickGroup* group_;
  std::int64_t group_rank_;
  Saying said_;
};

}  // namespace polyrank
