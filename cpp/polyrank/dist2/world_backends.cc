#include <polyrank/core/errors.h>
#include <polyrank/core/str_cat.h>
#include <polyrank/dist2/independent_group.h>
#include <polyrank/dist2/lockstep_group.h>
#include <polyrank/dist2/world_backends.h>
#include <polyrank/engine/lockstep_mode.h>
#include <polyrank/world/fake/fake_process_group.h>
#include <polyrank/world/fake/fake_store.h>
#include <polyrank/world/group_families.h>
#include <polyrank/world/threads/rank_store.h>
#include <polyrank/world/threads/threads_backend.h>

#include <map>
#include <memory>
#include <mutex>
#include <numeric>
#include <torch/csrc/distributed/c10d/PrefixStore.hpp>
#include <utility>
#include <vector>

namespace polyrank::dist2 {

namespace {

constexpr auto kCustom = c10d::ProcessGroup::BackendType::CUSTOM;

std::vector<c10::DeviceType> devices_with(c10::Device device) {
  return {device.type(), c10::kCPU, c10::kCUDA, c10::kHPU, c10::kXPU};
}

std::optional<FakeMember>& fake_world() {
  static std::optional<FakeMember> member;
  return member;
}

// Number of ranks of the lockstep mode that is on; 0 if none is.
std::int64_t num_ranks_in_lockstep() {
  const LockstepMode* mode = current_modes().lockstep;
  return mode != nullptr && mode->is_enabled() ? mode->ranks().size() : 0;
}

// The store that the ranks of one run share, which holds the run: so it lives as long as groups do.
Store store_of_run(const std::shared_ptr<RankTurns>& turns) {
  using Stores =
      std::map<std::weak_ptr<RankTurns>, c10::weak_intrusive_ptr<c10d::Store>, std::owner_less<>>;
  static std::mutex mutex;
  static auto* const stores = new Stores();  // stores may outlive static objects
  const std::lock_guard lock(mutex);
  std::erase_if(*stores, [](const auto& entry) { return entry.first.expired(); });
  const auto found = stores->find(turns);
  Store store = found == stores->end() ? Store() : found->second.lock();
  if (!store) {
    store = c10::make_intrusive<RankStore>(turns);
    stores->insert_or_assign(turns, c10::weak_intrusive_ptr<c10d::Store>(store));
  }
  return store;
}

class ThreadsGroup final : public IndependentGroup {
 public:
  using IndependentGroup::IndependentGroup;

 protected:
  c10::intrusive_ptr<c10d::Backend::Options> new_options() const override {
    return c10::make_intrusive<c10d::Backend::Options>("threads");
  }
  c10::intrusive_ptr<IndependentGroup> adopt(const dist2::ProcessGroup& group) const override {
    auto adopted =
        c10::make_intrusive<ThreadsGroup>(group->getStore(), group->getRank(), group->getSize());
    take_over(group, adopted.get());
    return adopted;
  }
};

bool fits_fake_option(const std::string& name, const c10::IValue& value) {
  if (name == "values") {
    return value.isString();
  }
  return name == "fake_option" ? value.isInt() : value.isBool();
}

c10::intrusive_ptr<FakeOptions> fake_options_of(const GroupRequest& request) {
  auto made = c10::make_intrusive<FakeOptions>();
  made->timeout = request.timeout;
  for (const auto& [name, value] : request.options) {
    if (!fits_fake_option(name, value)) {
      throw UsageError(str_cat("option ", name, " of backend \"fake\" can't be a ", value.tagKind(),
                               "; values is a string, fake_option an int, the "
                               "others are true or false"));
    }
    if (name == "values") {
      made->values = fake_values_from_name(value.toStringRef());
    } else if (name == "checks") {
      made->checks = value.toBool();
    } else if (name == "error_on_collective") {
      made->error_on_collective = value.toBool();
    } else {
      made->fake_option = static_cast<int>(value.toInt());
    }
  }
  return made;
}

}  // namespace

Store fake_store() { return c10::make_intrusive<FakeStore>(); }

void set_fake_world(std::optional<FakeMember> member) { fake_world() = std::move(member); }

Endpoint endpoint_of_world() {
  if (const RankThread* rank = RankThread::current()) {
    return {store_of_run(rank->turns_ptr()), static_cast<int>(rank->rank()),
            static_cast<int>(rank->turns().world_size())};
  }
  if (const std::int64_t num_ranks = num_ranks_in_lockstep(); num_ranks > 0) {
    return {fake_store(), 0, static_cast<int>(num_ranks)};
  }
  if (const auto& member = fake_world()) {
    return {fake_store(), static_cast<int>(member->group_rank()),
            static_cast<int>(member->group_size())};
  }
  return {};
}

ProcessGroup group_of_world(const GroupRequest& request) {
  GroupRequest of_world = request;
  of_world.options.clear();
  if (RankThread::current() != nullptr) {
    return make_threads_group(of_world);
  }
  if (num_ranks_in_lockstep() > 0) {
    return make_lockstep_group(of_world);
  }
  return fake_world() ? make_fake_group(of_world) : ProcessGroup();
}

ProcessGroup make_fake_group(const GroupRequest& request) {
  if (num_ranks_in_lockstep() > 0) {
    throw UsageError(
        "backend \"fake\": a fake group is of one rank that runs alone, and here ranks run in "
        "lockstep. Take \"lockstep\", or leave the mode.");
  }
  check_options(request, "fake", {"checks", "error_on_collective", "fake_option", "values"});
  const auto options = fake_options_of(request);
  const auto& member = fake_world();
  const bool is_world =
      member && member->group_size() == request.world_size && member->group_rank() == request.rank;
  const auto backend = is_world
                           ? FakeProcessGroup::of_member(*member, options)
                           : FakeProcessGroup::create(request.rank, request.world_size, options);
  auto group = c10::make_intrusive<FakeGroup>(request.store, backend, devices_with(request.device));
  const std::string name = next_group_name();
  group->setGroupName(name);
  group->setGroupDesc(name);
  return group;
}

ProcessGroup make_lockstep_group(const GroupRequest& request) {
  check_options(request, "lockstep", {});
  const std::int64_t num_ranks = num_ranks_in_lockstep();
  if (num_ranks == 0) {
    throw UsageError(
        "backend \"lockstep\": no ranks run in lockstep here. Enter polyrank.lockstep(), in C++ a "
        "LockstepWorld, or use `polyrank run --world lockstep`.");
  }
  if (request.world_size != num_ranks) {
    throw UsageError(str_cat("backend \"lockstep\": a group of ", request.world_size,
                             " ranks was asked for, and ", num_ranks,
                             " run; leave world_size out"));
  }
  return LockstepGroup::of_all_ranks(request.store, num_ranks, request.device);
}

ProcessGroup make_threads_group(const GroupRequest& request) {
  check_options(request, "threads", {});
  RankThread* const rank = RankThread::current();
  if (rank == nullptr) {
    throw UsageError(
        "backend \"threads\": this thread is no rank. Call it in polyrank.run_ranks(), or use "
        "`polyrank run --world threads`.");
  }
  if (request.world_size != rank->turns().world_size() || request.rank != rank->rank()) {
    throw UsageError(str_cat("backend \"threads\": rank ", request.rank, " of ", request.world_size,
                             " was asked for, by rank ", rank->rank(), " of ",
                             rank->turns().world_size(), "; leave rank and world_size out"));
  }
  std::vector<std::int64_t> members(static_cast<std::size_t>(request.world_size));
  std::iota(members.begin(), members.end(), 0);
  const std::string name = next_group_name();
  const auto backend = c10::make_intrusive<ThreadsBackend>(rank->shared_from_this(), name, members);
  auto group =
      c10::make_intrusive<ThreadsGroup>(c10::make_intrusive<c10d::PrefixStore>(name, request.store),
                                        request.rank, request.world_size);
  group->setDefaultBackend(kCustom);
  for (const c10::DeviceType device : {request.device.type(), c10::kCPU, c10::kCUDA}) {
    group->setBackend(device, kCustom, backend);
  }
  group->setGroupName(name);
  return group;
}

}  // namespace polyrank::dist2
