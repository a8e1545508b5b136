// Times the core layer: what an operation on partitions costs the first time, and what it costs in
// the steady state of a training loop. Budgets: the common refinement of two unseen partitions of
// 1,048,576 ranks in 20 ms, of a seen pair in 1 us; an event of the caching allocator in
// 0.2 us, an event of a GPU's timeline in 1 us.
#include <polyrank/allocator/caching_allocator.h>
#include <polyrank/core/cohort_projection.h>
#include <polyrank/core/rank_partition.h>
#include <polyrank/group/group_family.h>
#include <polyrank/group/regroup.h>
#include <polyrank/timeline/time_report.h>
#include <polyrank/timeline/timeline.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <ctime>
#include <functional>
#include <optional>
#include <random>
#include <string>
#include <vector>

namespace polyrank {
namespace {

using Labels = std::vector<std::int64_t>;
using Label = std::function<std::int64_t(std::int64_t)>;

constexpr std::int64_t kWorldSize = std::int64_t{1} << 20;

// Seconds of this thread's processor time: other programs on the machine do not count.
double now_seconds() {
  timespec now{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + static_cast<double>(now.tv_nsec) * 1e-9;
}

double seconds_of(const std::function<void()>& work) {
  const double start = now_seconds();
  work();
  return now_seconds() - start;
}

void print_row(const std::string& what, double seconds, double budget_seconds = 0) {
  const bool is_long = seconds >= 1e-4;
  std::printf("%-66s %10.3f %s", what.c_str(), is_long ? seconds * 1e3 : seconds * 1e6,
              is_long ? "ms" : "us");
  if (budget_seconds > 0) {
    std::printf("  %s", seconds <= budget_seconds ? "within budget" : "OVER BUDGET");
  }
  std::printf("\n");
}

// Median of a few runs, each on operands that `prepare` makes anew.
template <class Prepare, class Work>
double seconds_unseen(Prepare prepare, Work work) {
  std::vector<double> seconds;
  for (int run = 0; run < 7; ++run) {
    const auto operands = prepare();
    seconds.push_back(seconds_of([&] { work(operands); }));
  }
  std::ranges::nth_element(seconds, seconds.begin() + 3);
  return seconds[3];
}

// Mean of many calls, the first of them not counted.
double seconds_seen(const std::function<void()>& work) {
  work();
  constexpr int kCalls = 20000;
  return seconds_of([&] {
           for (int call = 0; call < kCalls; ++call) {
             work();
           }
         }) /
         kCalls;
}

RankPartition labelled(const RankSet& ranks, const Label& label) {
  Labels labels;
  labels.reserve(static_cast<std::size_t>(ranks.size()));
  for (std::int64_t index = 0; index < ranks.size(); ++index) {
    labels.push_back(label(index));
  }
  return RankPartition::from_labels(ranks, labels);
}

std::mt19937_64 engine(7);  // NOLINT(cert-msc51-cpp): the same numbers in every run

Label scattered(std::int64_t num_cohorts) {
  return [num_cohorts](std::int64_t) {
    return static_cast<std::int64_t>(engine() % static_cast<std::uint64_t>(num_cohorts));
  };
}

// Distinct in each call by where it starts.
Label in_blocks(std::int64_t block) {
  const auto shift = static_cast<std::int64_t>(engine() % static_cast<std::uint64_t>(block));
  return [block, shift](std::int64_t index) { return (index + shift) / block; };
}

struct Pair {
  RankPartition a;
  RankPartition b;
};

void time_meet() {
  const RankSet world = RankSet::first(kWorldSize);
  const auto unseen = [&](const std::string& what, auto label_a, auto label_b) {
    const double seconds =
        seconds_unseen([&] { return Pair{labelled(world, label_a()), labelled(world, label_b())}; },
                       [](const Pair& pair) { (void)meet(pair.a, pair.b); });
    print_row("meet, unseen, 1048576 ranks, " + what, seconds, 20e-3);
  };
  unseen("8 x 8 scattered cohorts", [] { return scattered(8); }, [] { return scattered(8); });
  unseen("1000 x 1000 scattered", [] { return scattered(1000); }, [] { return scattered(1000); });
  unseen(
      "524288 x 524288 scattered", [] { return scattered(kWorldSize / 2); },
      [] { return scattered(kWorldSize / 2); });
  unseen("blocks of 64 x of 4096", [] { return in_blocks(64); }, [] { return in_blocks(4096); });
  unseen("blocks of 8 x 8 scattered", [] { return in_blocks(8); }, [] { return scattered(8); });
  for (const std::int64_t size : {std::int64_t{8}, kWorldSize}) {
    const RankSet ranks = RankSet::first(size);
    const RankPartition a = labelled(ranks, [](std::int64_t index) { return index % 2; });
    const RankPartition b = labelled(ranks, [](std::int64_t index) { return index / 4; });
    print_row("meet, seen, " + std::to_string(size) + " ranks",
              seconds_seen([&] { (void)meet(a, b); }), 1e-6);
  }
  Labels odd;
  for (std::int64_t rank = 1; rank < kWorldSize; rank += 2) {
    odd.push_back(rank);
  }
  const RankPartition a = labelled(RankSet::of(odd), [](std::int64_t index) { return index % 2; });
  const RankPartition b = labelled(RankSet::of(odd), [](std::int64_t index) { return index / 4; });
  print_row("meet, seen, every other of 1048576 ranks, two equal RankSets",
            seconds_seen([&] { (void)meet(a, b); }), 1e-6);
}

void time_others() {
  const RankSet world = RankSet::first(kWorldSize);
  const auto partition = [&] { return labelled(world, scattered(8)); };
  const RankPartition fine = labelled(world, [](std::int64_t index) { return index % 8; });
  const RankPartition coarse = labelled(world, [](std::int64_t index) { return index % 2; });
  print_row("project, seen", seconds_seen([&] { (void)project(fine, coarse); }), 1e-6);
  print_row("refines, seen", seconds_seen([&] { (void)refines(fine, coarse); }), 1e-6);
  print_row("uniform, seen", seconds_seen([&] { (void)RankPartition::uniform(world); }), 1e-6);
  print_row("identity, seen", seconds_seen([&] { (void)RankPartition::identity(world); }), 1e-6);

  std::optional<GroupFamily> family;
  print_row("complete, 131072 groups of 8, first time", seconds_of([&] {
              const Labels members{0, 1, 2, 3, 4, 5, 6, 7};
              family = GroupFamily::complete(members, kWorldSize);
            }));
  const auto regroup_shared = [&](const RankPartition& operand) {
    (void)regroup(operand, *family, OutputKind::kSharedByGroup);
  };
  print_row("regroup, unseen, 8 scattered cohorts", seconds_unseen(partition, regroup_shared));
  print_row("regroup, first time, identity",
            seconds_of([&] { regroup_shared(RankPartition::identity(world)); }));
  print_row("regroup, seen", seconds_seen([&] { regroup_shared(fine); }), 1e-6);

  print_row("coarsen 8 cohorts to 4", seconds_unseen(partition, [](const RankPartition& operand) {
              (void)operand.coarsen(Labels{0, 0, 1, 1, 2, 2, 3, 3});
            }));
  print_row("restrict_to the upper half", seconds_unseen(partition, [&](const auto& operand) {
              (void)operand.restrict_to(RankSet::range(kWorldSize / 2, kWorldSize));
            }));
  const auto first_cohort = [](const RankPartition& operand) { (void)operand.cohort(0); };
  print_row("cohort, first call, 8 scattered cohorts", seconds_unseen(partition, first_cohort));
  print_row("cohort, first call, identity",
            seconds_of([&] { first_cohort(RankPartition::identity(world)); }));
}

// A training loop's sizes: 500 blocks are held, and each step frees one and asks for another.
void time_allocator() {
  constexpr std::size_t kHeld = 500;
  constexpr std::size_t kSteps = 500'000;
  std::mt19937 random(1);  // NOLINT(bugprone-random-generator-seed): the same on every run
  std::vector<std::int64_t> sizes(4096);
  for (std::int64_t& size : sizes) {
    size = 1 + static_cast<std::int64_t>(random() % (random() % 3 == 0 ? 20 * kMiB : 100'000));
  }
  CachingAllocator allocator(80 * kKiB * kMiB);
  std::vector<Block*> held(kHeld);
  for (std::size_t i = 0; i < kHeld; ++i) {
    held[i] = allocator.allocate(sizes[i], 0);
  }
  const double seconds = seconds_of([&] {
    for (std::size_t i = 0; i < kSteps; ++i) {
      Block*& block = held[random() % kHeld];
      allocator.free(block);
      block = allocator.allocate(sizes[i % sizes.size()], 0);
    }
  });
  print_row("caching allocator, an allocation or a free", seconds / (2.0 * kSteps), 0.2e-6);
}

// As a training step has them: on four streams, with an event and a wait at every tenth launch.
void time_timeline() {
  constexpr std::int64_t kLaunches = 1'000'000;
  Timeline timeline;
  std::int64_t num_events = 0;
  const double seconds = seconds_of([&] {
    for (std::int64_t i = 0; i < kLaunches; ++i, ++num_events) {
      const TimelineStream stream = i % 10 < 7 ? 0 : i % 4;
      const WorkKind kind = stream == 3 ? WorkKind::kCommunication : WorkKind::kCompute;
      timeline.launch(stream, 20'000, {.kind = kind, .name = "work", .module = "layers.0"}, 5'000);
      if (i % 10 == 0) {
        timeline.wait(0, timeline.record(3));
        num_events += 2;
      }
    }
  });
  print_row("timeline, a launch, an event or a wait", seconds / static_cast<double>(num_events),
            1e-6);
  const double of_report = seconds_of(
      [&] { TimeReports(timeline).report(timeline.makespan() / 2, timeline.makespan()); });
  print_row("timeline, a launch's share in a report", of_report / kLaunches, 1e-6);
}

}  // namespace
}  // namespace polyrank

int main() {
  polyrank::time_meet();
  polyrank::time_others();
  polyrank::time_allocator();
  polyrank::time_timeline();
  return 0;
}
