#include <polyrank/core/errors.h>
#include <polyrank/core/str_cat.h>
#include <polyrank/exchange/call_checks.h>
#include <polyrank/exchange/launch_details.h>
#include <polyrank/world/group_families.h>
#include <polyrank/world/rank_backend.h>

#include <algorithm>
#include <utility>

namespace polyrank {

namespace {

int place_of(std::int64_t rank, const std::string& name, const std::vector<std::int64_t>& members) {
  const auto found = std::find(members.begin(), members.end(), rank);
  if (found == members.end()) {
    throw UsageError(
        str_cat("rank ", rank, " is not in group \"", name, "\", so it can't make it"));
  }
  return static_cast<int>(found - members.begin());
}

}  // namespace

RankBackend::RankBackend(std::int64_t global_rank, const std::string& name,
                         const std::vector<std::int64_t>& members)
    : TableBackend(place_of(global_rank, name, members), static_cast<int>(members.size())),
      global_rank_(global_rank),
      launch_group_(std::make_shared<const Group>(name, name, RankRuns::of(members))),
      members_(members) {}

std::int64_t RankBackend::global_rank_of(std::int64_t group_rank) const {
  if (group_rank < 0 || group_rank >= getSize()) {
    throw CollectiveError(str_cat("group \"", launch_group_->name(), "\" has no group rank ",
                                  group_rank, "; valid: 0..", getSize() - 1));
  }
  return members_[static_cast<std::size_t>(group_rank)];
}

std::int64_t RankBackend::peer_of(const std::vector<c10::SymInt>& peers) const {
  return peers.empty() ? Meeting::kAnyRank : global_rank_of(peers.front().expect_int());
}

std::string RankBackend::describe_member(std::int64_t group_rank) const {
  const std::string ranks = launch_group_->ranks().to_string();
  // Groups of torch.distributed have a description, and names that are numbers.
  const std::string label =
      pg_desc_.empty() ? launch_group_->name() : given_label(pg_desc_).value_or("ranks " + ranks);
  return str_cat("group \"", label, "\" (ranks ", ranks, "), rank ", global_rank_of(group_rank));
}

void RankBackend::check(const CollectiveCall& call) const {
  if (is_shut_down_) {
    throw CollectiveError(str_cat(describe_member(getRank()), ": ", to_string(call.spec->kind),
                                  " after the group was shut down. Make a new group."));
  }
  check_call(call, {.group_size = getSize(),
                    .group_rank = getRank(),
                    .describe = [this](std::int64_t rank) { return describe_member(rank); }});
}

CollectiveLaunch RankBackend::describe(const CollectiveCall& call) {
  CollectiveLaunch launch{
      .kind = call.spec->kind, .group = launch_group_, .num_groups = 1, .num_computed = 1};
  launch.sequence = num_launches_++;
  for (const CollectiveUnit& unit : call.units) {
    for (const at::Tensor& input : unit.inputs) {
      launch.input_bytes += input.numel() * static_cast<std::int64_t>(input.element_size());
    }
  }
  if (collective_record().is_tracing()) {
    launch.cohorts = RankPartition::uniform(RankSet::range(global_rank_, global_rank_ + 1));
    add_details(call, {}, &launch);
    launch.start_ns = trace_clock_ns();
  }
  return launch;
}

void RankBackend::note_launched(const c10::intrusive_ptr<RankWork>& work,
                                CollectiveLaunch described,
                                std::optional<LaunchesInFlight::Id> in_flight) {
  const bool is_async = described.is_async;  // told while traced
  const LaunchId id = collective_record().launch(std::move(described));
  if (is_async) {
    work->add_launch(id);
  }
  if (in_flight) {
    work->add_in_flight(*in_flight);
  }
  if (coalesced_) {
    coalesced_->emplace_back(work);
  }
}

TableBackend::Work RankBackend::endCoalescing() {
  const std::optional<std::vector<Work>> works = std::exchange(coalesced_, std::nullopt);
  return joined(works.value_or(std::vector<Work>{}));
}

c10::intrusive_ptr<c10d::Backend::Options> RankBackend::getBackendOptions() {
  return c10::make_intrusive<Options>(getBackendName());
}

c10::intrusive_ptr<c10d::Backend> RankBackend::split(
    const c10::intrusive_ptr<c10d::Store>& /*store*/, const std::vector<int>& ranks,
    const c10::intrusive_ptr<Options>& options) {
  return translating_errors([&]() -> c10::intrusive_ptr<c10d::Backend> {
    std::vector<std::int64_t> members;
    members.reserve(ranks.size());
    for (const int group_rank : ranks) {
      members.push_back(global_rank_of(group_rank));
    }
    if (std::find(members.begin(), members.end(), global_rank_) == members.end()) {
      return {};
    }
    return make_group(options->group_name, members);
  });
}

c10::intrusive_ptr<c10d::Backend> RankBackend::merge(const c10::intrusive_ptr<c10d::Store>& store,
                                                     const c10::intrusive_ptr<Options>& options,
                                                     const int& rank, const int& size) {
  return translating_errors([&] {
    const MergedGroup merged = meet_in_store(*store, options->group_name, global_rank_, rank, size);
    return make_group(merged.name, merged.members);
  });
}

}  // namespace polyrank
