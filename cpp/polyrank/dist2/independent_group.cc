#include <polyrank/core/errors.h>
#include <polyrank/core/str_cat.h>
#include <polyrank/dist2/independent_group.h>

#include <algorithm>
#include <numeric>
#include <utility>

namespace polyrank::dist2 {

namespace {

std::string text_of(const std::vector<int>& ranks) {
  std::string text;
  for (const int rank : ranks) {
    text += str_cat(text.empty() ? "" : ", ", rank);
  }
  return str_cat("[", text, "]");
}

void check_part(const std::vector<int>& ranks, int size) {
  const bool is_part = !ranks.empty() && ranks.front() >= 0 && ranks.back() < size;
  if (!is_part || std::adjacent_find(ranks.begin(), ranks.end()) != ranks.end()) {
    throw UsageError(str_cat("a group of ", size, " ranks was to be split into ", text_of(ranks),
                             ": give one or more different ranks of it, from 0 to ", size - 1));
  }
}

}  // namespace

std::vector<std::uint64_t> first_ranks(int size) {
  std::vector<std::uint64_t> ranks(static_cast<std::size_t>(size));
  std::iota(ranks.begin(), ranks.end(), 0U);
  return ranks;
}

std::string next_group_name() {
  thread_local int num_groups = 0;
  return str_cat("dist2:", num_groups++);
}

void take_over(const dist2::ProcessGroup& other, c10d::ProcessGroup* group) {
  group->setDefaultBackend(other->getBackendType());
  for (const c10::Device device : other->getDeviceTypes()) {
    group->setBackend(device.type(), other->getBackendType(), other->getBackend(device.type()));
  }
  group->setGroupName(other->getGroupName());
  group->setGroupDesc(other->getGroupDesc());
}

IndependentGroup::IndependentGroup(Store store, int rank, int size)
    : c10d::ProcessGroup(std::move(store), rank, size),
      global_ranks_(static_cast<std::size_t>(size)) {
  std::iota(global_ranks_.begin(), global_ranks_.end(), 0);
}

dist2::ProcessGroup IndependentGroup::splitGroup(
    const std::vector<int>& ranks, const std::optional<std::chrono::milliseconds>& timeout,
    const std::optional<c10::intrusive_ptr<c10d::Backend::Options>>& options,
    const std::optional<std::string>& name, const std::optional<std::string>& description,
    const std::optional<std::vector<c10::Device>>& devices) {
  std::vector<int> sorted = ranks;
  std::sort(sorted.begin(), sorted.end());
  check_part(sorted, getSize());
  // Members of a part count alike, whatever other parts they are in.
  const std::string part_name = name.value_or(
      str_cat(getGroupName(), ":split:", text_of(sorted), "#", num_splits_[sorted]++));
  const auto place = std::lower_bound(sorted.begin(), sorted.end(), getRank());
  if (place == sorted.end() || *place != getRank()) {
    return {};
  }
  meet(part_name, static_cast<int>(place - sorted.begin()), static_cast<int>(sorted.size()));
  dist2::ProcessGroup part = c10d::ProcessGroup::splitGroup(
      sorted, timeout, options ? options : new_options(), part_name, description, devices);
  if (!part) {
    return part;
  }
  auto adopted = adopt(part);
  for (std::size_t i = 0; i < sorted.size(); ++i) {
    adopted->global_ranks_[i] = global_ranks_[static_cast<std::size_t>(sorted[i])];
  }
  return adopted;
}

dist2::ProcessGroup IndependentGroup::mergeRemoteGroup(const Store& store,
                                                       const MergeOptions& options,
                                                       const int& size) {
  const auto rank = static_cast<int>(store->add("rank", 1)) - 1;
  if (rank >= size) {
    throw CollectiveError(
        str_cat("group \"", getGroupName(), "\", rank ", getRank(), ": a group of ", size,
                " was to be merged, and ", rank + 1,
                " came to its store. Give each merged group a store of its own."));
  }
  const auto merged_options = new_options();
  if (options.timeout != kProcessGroupDefaultTimeout) {
    merged_options->timeout = options.timeout;
  }
  meet_merged(store, rank, size, merged_options->timeout);
  merged_options->group_name = options.group_name.value_or(getGroupName() + ":merge");
  merged_options->group_desc = options.group_desc.value_or("");
  merged_options->global_ranks_in_group = first_ranks(size);
  const auto backend = getDefaultBackend()->merge(store, merged_options, rank, size);
  const auto merged = c10::make_intrusive<c10d::ProcessGroup>(store, rank, size);
  merged->setDefaultBackend(getBackendType());
  for (const c10::Device device : getDeviceTypes()) {
    merged->setBackend(device.type(), getBackendType(), backend);
  }
  merged->setGroupName(merged_options->group_name);
  merged->setGroupDesc(merged_options->group_desc);
  return adopt(merged);
}

}  // namespace polyrank::dist2
