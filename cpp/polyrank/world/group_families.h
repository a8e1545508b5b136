// Process groups by name, and which groups act when the program names one.
#pragma once

#include <polyrank/core/export.h>
#include <polyrank/group/group.h>

#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

namespace polyrank {

// NOTE [Group families]
// In lockstep the program names rank 0's group, and the collective acts on all the groups that
// the other ranks would name at that moment: the family. Which groups are a family follows from
// who made them, and how:
//  - the world group is a family of its own;
//  - what a call gives each rank as its own of several groups (a DeviceMesh dimension, the first
//    result of new_subgroups, split_group) stands for all of them;
//  - a group that the program makes by new_group(ranks) is the same group on all ranks. It stands
//    alone: ranks that are not in it keep what they have, as in real processes;
//  - one that torch's own code makes by new_group(ranks), which sees rank 0 alone and keeps that
//    rank's group, stands for the groups that tile the world in the same pattern if all of them
//    were made so, each as many times; else it stands alone;
//  - a group that was made while nobody took note (before the mode, or outside lockstep) is taken
//    to stand for all groups of its pattern, as in PyTorch's simulator.

// What people call a group of which PyTorch gives this description; nothing where the program has
// not described it.
std::optional<std::string> given_label(const std::string& description);

// Whose code made a group.
enum class GroupMaker : std::uint8_t { kProgram, kTorch };

// The process groups that the program made.
//
// Thread rule: safe from any thread.
class POLYRANK_API GroupFamilies {
 public:
  // Takes note of a group. A group of that name that was known is forgotten.
  // Requires: members are distinct ranks of the world, in the order of the group
  // Throws: UsageError otherwise.
  void add(const std::string& name, const std::vector<std::int64_t>& members,
           std::int64_t world_size, const std::string& label,
           GroupMaker maker = GroupMaker::kProgram);

  // Says that the group of that name stands for `family`, in which it or one of its members is.
  // Throws: UsageError if a name is unknown, sizes differ or groups overlap.
  void declare_family(const std::string& name, const std::vector<std::string>& family);

  // The group may not be used any more. Nothing happens if nobody took note of it.
  void close(const std::string& name);

  // The group of that name and its family, or null if nobody took note of it.
  // Throws: CollectiveError if it was closed.
  std::shared_ptr<const Group> find(const std::string& name) const;

  // Number of ranks in the world, or 0 before the first group.
  std::int64_t world_size() const;

  // Names of the known groups, sorted.
  std::vector<std::string> names() const;

  void clear();

 private:
  struct Entry {
    std::vector<std::int64_t> members;
    std::string label;
    bool is_closed = false;
    // 1 for the first group of these members that torch made, and so on; 0: none of these
    std::int64_t ordinal = 0;
    std::optional<GroupFamily> declared;    // by declare_family()
    std::shared_ptr<const Group> resolved;  // as of `generation` of the whole
    std::uint64_t generation = 0;
  };

  GroupFamily family_of(const Entry& entry) const;

  mutable std::mutex mutex_;
  mutable std::map<std::string, Entry> entries_;
  // How many groups of these members torch made one by one, not as part of a declared family.
  std::map<std::vector<std::int64_t>, std::int64_t> num_made_;
  std::int64_t world_size_ = 0;
  std::uint64_t generation_ = 1;  // moves when a group is made: it may complete another's family
};

// The process groups of this process.
POLYRANK_API GroupFamilies& group_families();

// Members of a group that nobody took note of; set by the Python package, which can ask
// torch.distributed. Null in programs without Python.
using FindMembers = std::vector<std::int64_t> (*)(const std::string& group_name,
                                                  std::int64_t* world_size);
POLYRANK_API void set_find_members(FindMembers find_members) noexcept;

// The members of a group of torch.distributed, in its order; where nobody can tell, the first
// `group_size` ranks.
POLYRANK_API std::vector<std::int64_t> members_of_group(const std::string& name,
                                                        std::int64_t group_size);

// The group of that name, however it was made; `group_size`: its size if known, else -1.
// Throws: CollectiveError if there is no such group, naming those that there are.
POLYRANK_API std::shared_ptr<const Group> resolve_group(const std::string& name,
                                                        std::int64_t group_size,
                                                        std::int64_t num_ranks);

}  // namespace polyrank
