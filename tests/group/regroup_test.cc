#include <core/sample_partitions.h>
#include <gtest/gtest.h>
#include <polyrank/group/regroup.h>

#include <algorithm>
#include <set>
#include <thread>

namespace polyrank {
namespace {

using Groups = std::vector<Ranks>;
using Tuple = std::vector<std::int32_t>;

// What decides a rank's result. Naive: from the members of its own group.
struct Origin {
  bool runs = false;
  Tuple tuple;                // cohorts of the group's members
  std::int32_t position = 0;  // for kOwnPerMember
  std::int32_t kept = -1;     // for a rank that gets nothing
  auto operator<=>(const Origin&) const = default;
};

Origin origin_of(std::int64_t rank, const RankPartition& partition, const GroupFamily& family,
                 OutputKind kind, std::int32_t root) {
  Origin kept;
  kept.kept = partition.cohort_of(rank);
  Origin origin;
  if (family.group_of(rank) < 0 ||
      (kind == OutputKind::kRootOnly && family.position_of(rank) != root)) {
    return kept;
  }
  for (const std::int64_t member : family.members(family.group_of(rank))) {
    if (!partition.ranks().contains(member)) {
      return kept;
    }
    origin.tuple.push_back(partition.cohort_of(member));
  }
  origin.runs = true;
  origin.position = kind == OutputKind::kOwnPerMember ? family.position_of(rank) : 0;
  return origin;
}

// The origin that the regrouping claims for a cohort of its result.
Origin claimed_origin(const Regrouping& regrouping, std::int32_t cohort) {
  const Regrouping::Source& source = regrouping.sources.at(static_cast<std::size_t>(cohort));
  if (source.tuple < 0) {
    EXPECT_EQ(source.tuple, -1);
    EXPECT_EQ(source.position, 0);
    return {false, {}, 0, source.kept_cohort};
  }
  EXPECT_EQ(source.kept_cohort, -1);
  const auto tuple = static_cast<std::size_t>(source.tuple);
  return {true, regrouping.input_cohorts.at(tuple), source.position, -1};
}

// The laws of regroup.h by their numbers.
void check_regroup(const RankPartition& partition, const GroupFamily& family, OutputKind kind,
                   std::int32_t root = 0) {
  const auto regrouping = regroup(partition, family, kind, root);
  ASSERT_EQ(regrouping->result.ranks(), partition.ranks());
  ASSERT_EQ(regrouping->sources.size(), static_cast<std::size_t>(regrouping->result.num_cohorts()));
  std::set<Origin> origins;
  std::set<Tuple> tuples;
  for (const std::int64_t rank : partition.ranks()) {
    const Origin origin = origin_of(rank, partition, family, kind, root);
    // All ranks of a result cohort have the origin that its source says, so equal cohorts have
    // equal origins; as many cohorts as origins, so equal origins have equal cohorts: (1) and (2).
    EXPECT_EQ(claimed_origin(*regrouping, regrouping->result.cohort_of(rank)), origin)
        << "rank " << rank << " of " << partition.to_string() << ", " << family.to_string();
    origins.insert(origin);
    if (origin.runs) {
      tuples.insert(origin.tuple);
    }
  }
  EXPECT_EQ(static_cast<std::size_t>(regrouping->result.num_cohorts()), origins.size());  // (1) (2)
  EXPECT_EQ(regrouping->input_cohorts.size(), tuples.size());                             // (3)
  EXPECT_EQ(regroup(partition, family, kind, root), regrouping);  // a look-up
}

void check_regroup(const RankPartition& partition, const GroupFamily& family) {
  check_regroup(partition, family, OutputKind::kSharedByGroup);
  check_regroup(partition, family, OutputKind::kOwnPerMember);
  const auto last = static_cast<std::int32_t>(family.group_size()) - 1;
  check_regroup(partition, family, OutputKind::kRootOnly, last);
  check_regroup(partition, family, OutputKind::kRootOnly, last / 2);
}

// All families of groups of `group_size` among `ranks`, members ascending.
void add_families(const Ranks& ranks, std::size_t group_size, const Groups& groups,
                  std::vector<Groups>* families) {
  if (!groups.empty()) {
    families->push_back(groups);
  }
  const auto size = static_cast<unsigned>(ranks.size());
  for (unsigned bits = 1; bits < (1U << size); ++bits) {
    Ranks members;
    Ranks rest;
    for (unsigned i = 0; i < size; ++i) {
      ((bits >> i & 1U) != 0 ? members : rest).push_back(ranks[i]);
    }
    // Groups are added by ascending lowest rank, so that each family appears once.
    if (members.size() == group_size &&
        (groups.empty() || groups.back().front() < members.front())) {
      Groups longer = groups;
      longer.push_back(members);
      add_families(rest, group_size, longer, families);
    }
  }
}

std::vector<GroupFamily> all_families(const RankSet& ranks) {
  std::vector<Groups> families;
  for (std::int64_t size = 1; size <= ranks.size(); ++size) {
    add_families(ranks.to_vector(), static_cast<std::size_t>(size), {}, &families);
  }
  std::vector<GroupFamily> result;
  result.reserve(families.size());
  for (const Groups& groups : families) {
    result.push_back(GroupFamily::explicit_groups(groups));
  }
  return result;
}

TEST(Regroup, AllPartitionsAndFamiliesOfUpToSixRanks) {
  for (std::int64_t size = 0; size <= 6; ++size) {
    const RankSet ranks = ranks_with_gaps(size);
    const std::vector<GroupFamily> families = all_families(ranks);
    for (const RankPartition& partition : all_partitions(ranks)) {
      for (const GroupFamily& family : families) {
        check_regroup(partition, family);
      }
    }
  }
}

TEST(Regroup, MembersInEachOrder) {
  Ranks first{0, 1, 2};
  do {
    const Ranks second{first[1] + 3, first[0] + 3, first[2] + 3};
    const GroupFamily family = GroupFamily::explicit_groups(Groups{first, second});
    for (const RankPartition& partition : all_partitions(RankSet::first(6))) {
      check_regroup(partition, family);
    }
  } while (std::ranges::next_permutation(first).found);
}

TEST(Regroup, GroupsWithAMemberOutsideDoNotRun) {
  const std::vector<GroupFamily> families = all_families(RankSet::first(6));
  for (unsigned bits = 0; bits < 64; bits += 3) {
    Ranks chosen;
    for (std::int64_t rank = 0; rank < 6; ++rank) {
      if ((bits >> static_cast<unsigned>(rank) & 1U) != 0) {
        chosen.push_back(rank);
      }
    }
    for (const RankPartition& partition : all_partitions(RankSet::of(chosen))) {
      for (const GroupFamily& family : families) {
        check_regroup(partition, family);
      }
    }
  }
}

TEST(Regroup, RandomPartitionsAndFamilies) {
  Random random(53);
  for (int round = 0; round < 60; ++round) {
    const std::int64_t group_size = random.between(1, 16);
    const std::int64_t num_groups = random.between(1, 2000 / group_size);
    const std::int64_t world_size = group_size * num_groups;
    // The fibers of the first or of the last dimension of a mesh, as a whole or less some groups.
    const bool is_first_dim = random.below(2) == 0;
    Groups groups;
    for (std::int64_t group = 0; group < num_groups; ++group) {
      if (group > 0 && round % 3 == 0 && random.below(2) == 0) {
        continue;
      }
      groups.emplace_back();
      for (std::int64_t i = 0; i < group_size; ++i) {
        groups.back().push_back(is_first_dim ? group + i * num_groups : group * group_size + i);
      }
    }
    const GroupFamily family = GroupFamily::explicit_groups(groups);
    const RankPartition partition = random_partition(RankSet::first(world_size), &random);
    check_regroup(partition, family);
    check_regroup(partition.restrict_to(RankSet::range(world_size / 5, world_size)), family);
  }
}

TEST(Regroup, AllReduceOverTheWorldMakesOneCohort) {
  const RankSet world = RankSet::first(8);
  const GroupFamily family = GroupFamily::complete(world.to_vector(), 8);
  const RankPartition own = RankPartition::identity(world);
  EXPECT_EQ(regroup(own, family, OutputKind::kSharedByGroup)->result,
            RankPartition::uniform(world));
  EXPECT_EQ(regroup(own, family, OutputKind::kOwnPerMember)->result, own);
}

TEST(Regroup, AShardedWeightStaysAsManyCohortsAsShards) {
  // dp = 4, tp = 2: reduced over dp, the gradients of a weight that is sharded over tp.
  const RankSet world = RankSet::first(8);
  const RankPartition sharded = RankPartition::from_labels(world, Ranks{0, 1, 0, 1, 0, 1, 0, 1});
  const GroupFamily data_parallel = GroupFamily::complete(Ranks{0, 2, 4, 6}, 8);
  const auto of_distinct =
      regroup(RankPartition::identity(world), data_parallel, OutputKind::kSharedByGroup);
  EXPECT_EQ(of_distinct->result, sharded);
  EXPECT_EQ(of_distinct->input_cohorts.size(), 2U);
  EXPECT_EQ(regroup(sharded, data_parallel, OutputKind::kSharedByGroup)->result, sharded);
}

TEST(Regroup, RanksThatKeepTheirValueShareNoCohortWithAGroup) {
  // All ranks held one value; the group's result may be another one, so 2 and 3 stand apart.
  const RankSet world = RankSet::first(4);
  const auto regrouping = regroup(RankPartition::uniform(world), GroupFamily::single(Ranks{0, 1}),
                                  OutputKind::kSharedByGroup);
  EXPECT_EQ(regrouping->result, RankPartition::from_labels(world, Ranks{0, 0, 1, 1}));
}

TEST(Regroup, RanksBesidesTheRootStayOneCohort) {
  const RankSet world = RankSet::first(4);
  const auto regrouping = regroup(RankPartition::uniform(world),
                                  GroupFamily::complete(Ranks{0, 1}, 4), OutputKind::kRootOnly, 1);
  EXPECT_EQ(regrouping->result, RankPartition::from_labels(world, Ranks{0, 1, 0, 1}));
  EXPECT_EQ(regrouping->input_cohorts.size(), 1U);
}

TEST(Regroup, ThreadsRegroupTheSame) {
  constexpr std::size_t kThreads = 8;
  std::vector<std::vector<RankPartition>> made(kThreads);
  {
    std::vector<std::jthread> threads;
    threads.reserve(kThreads);
    for (std::size_t i = 0; i < kThreads; ++i) {
      threads.emplace_back([&results = made[i]] {
        Random random(59);
        const RankSet world = RankSet::first(96);
        for (std::int64_t group_size = 1; group_size <= 8; ++group_size) {
          const GroupFamily family =
              GroupFamily::complete(RankSet::first(group_size).to_vector(), 96);
          results.push_back(
              regroup(random_partition(world, &random), family, OutputKind::kOwnPerMember)->result);
        }
      });
    }
  }
  for (const auto& results : made) {
    EXPECT_EQ(results, made.front());
  }
}

}  // namespace
}  // namespace polyrank
