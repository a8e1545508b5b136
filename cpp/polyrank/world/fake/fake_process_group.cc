#include <polyrank/core/errors.h>
#include <polyrank/core/str_cat.h>
#include <polyrank/engine/interpreter_hooks.h>
#include <polyrank/exchange/call_checks.h>
#include <polyrank/exchange/host_memory.h>
#include <polyrank/exchange/launch_details.h>
#include <polyrank/exchange/written_versions.h>
#include <polyrank/report/collective_record.h>
#include <polyrank/world/fake/fake_exchange.h>
#include <polyrank/world/fake/fake_process_group.h>
#include <polyrank/world/group_families.h>
#include <polyrank/world/launch_clock.h>

#include <optional>
#include <utility>

namespace polyrank {

namespace {

using Options = c10::intrusive_ptr<FakeOptions>;

Options as_fake_options(const c10::intrusive_ptr<c10d::Backend::Options>& options) {
  if (!options) {
    return c10::make_intrusive<FakeOptions>();
  }
  // Not by PyTorch's dynamic_intrusive_pointer_cast, which leaks what it can't cast.
  if (dynamic_cast<const FakeOptions*>(options.get()) == nullptr) {
    throw UsageError(str_cat("a fake process group was given the options of backend \"",
                             options->backend, "\"; give polyrank.fake.FakeProcessGroup.Options."));
  }
  return c10::static_intrusive_pointer_cast<FakeOptions>(options);
}

FakeMember member_of_own_world(std::int64_t rank, std::int64_t size) {
  if (rank < 0 || rank >= size) {
    throw CollectiveError(str_cat("a process group of ", size, " ranks has no rank ", rank,
                                  "; valid: 0..", size - 1, "."));
  }
  return {GroupFamily::fibers({{size, 1}}, size), std::make_shared<const FakeRank>(rank)};
}

int checked_group_rank(const FakeMember& member) {
  if (member.group_rank() < 0) {
    throw UsageError(str_cat("rank ", member.own_rank(), " is not in the group of the ranks ",
                             member.to_string(), ", so it can't make it."));
  }
  return static_cast<int>(member.group_rank());
}

std::int64_t nbytes_of_inputs(const CollectiveCall& call) {
  std::int64_t nbytes = 0;
  for (std::size_t i = 0; i < call.units.size(); ++i) {
    if (call.is_send.empty() || call.is_send[i]) {
      for (const at::Tensor& input : call.units[i].inputs) {
        nbytes += input.numel() * static_cast<std::int64_t>(input.element_size());
      }
    }
  }
  return nbytes;
}

std::int64_t start_ns() { return collective_record().is_tracing() ? trace_clock_ns() : 0; }

bool is_message(const CollectiveCall& call) {
  return call.spec->kind == CollectiveKind::kSend || call.spec->kind == CollectiveKind::kReceive;
}

}  // namespace

c10::intrusive_ptr<FakeProcessGroup> FakeProcessGroup::create(
    int rank, int size, const c10::intrusive_ptr<c10d::Backend::Options>& options) {
  return of_member(member_of_own_world(rank, size), options);
}

c10::intrusive_ptr<FakeProcessGroup> FakeProcessGroup::of_member(
    FakeMember member, const c10::intrusive_ptr<c10d::Backend::Options>& options) {
  return c10::make_intrusive<FakeProcessGroup>(std::move(member), as_fake_options(options));
}

FakeProcessGroup::FakeProcessGroup(FakeMember member, Options options)
    : TableBackend(checked_group_rank(member), static_cast<int>(member.group_size())),
      member_(std::move(member)),
      options_(std::move(options)) {}

// What people call the group.
std::string FakeProcessGroup::label() const {
  const std::optional<std::string> given = given_label(pg_desc_);
  return given ? *given : str_cat("ranks ", member_.to_string());
}

std::string FakeProcessGroup::describe_rank() const {
  return str_cat("group \"", label(), "\" (ranks ", member_.to_string(), "), rank ",
                 member_.own_rank());
}

void FakeProcessGroup::check(const CollectiveCall& call) const {
  if (is_shut_down_) {
    throw CollectiveError(str_cat(describe_rank(), ": ", to_string(call.spec->kind),
                                  " after the group was shut down. Make a new group."));
  }
  if (member_.group_rank() < 0) {
    throw CollectiveError(str_cat(describe_rank(), ": ", to_string(call.spec->kind),
                                  " by a rank that is not in the group."));
  }
  if (options_->checks) {
    check_call(call, {.group_size = member_.group_size(),
                      .group_rank = member_.group_rank(),
                      .describe = [this](std::int64_t) { return describe_rank(); }});
  }
}

const std::shared_ptr<const Group>& FakeProcessGroup::launch_group() {
  if (!launch_group_ || launch_group_rank_ != member_.own_rank()) {
    launch_group_rank_ = member_.own_rank();
    launch_group_ = std::make_shared<const Group>(pg_uid_, label(), member_.ranks());
  }
  return launch_group_;
}

LaunchId FakeProcessGroup::record(const CollectiveCall& call, std::int64_t start_ns) {
  CollectiveLaunch launch{.kind = call.spec->kind,
                          .group = launch_group(),
                          .num_groups = 1,
                          .num_computed = 1,
                          .input_bytes = nbytes_of_inputs(call)};
  if (collective_record().is_tracing()) {
    const std::int64_t rank = member_.own_rank();
    launch.cohorts = RankPartition::uniform(RankSet::range(rank, rank + 1));
    launch.start_ns = start_ns;
    add_details(call, {}, &launch);
  }
  return collective_record().launch(std::move(launch));
}

FakeWorkState FakeProcessGroup::new_work(const CollectiveCall& call, c10d::OpType op_type) const {
  FakeWorkState state;
  state.results = call.written();
  state.group_rank = static_cast<int>(member_.group_rank());
  state.op_type = op_type;
  state.sequence_number = sequence_number_;
  state.refuses = options_->values == FakeValues::kRefuse;
  if (state.refuses) {
    state.description = str_cat(describe_rank(), ": ", to_string(call.spec->kind));
  }
  return state;
}

FakeProcessGroup::Work FakeProcessGroup::launch(CollectiveCall call, c10d::OpType op_type) {
  TORCH_CHECK(!options_->error_on_collective,
              "FakeProcessGroup collective operation error (error_on_collective=true)");
  return translating_errors([&]() -> Work {
    const std::int64_t start = start_ns();
    check(call);
    if (options_->values != FakeValues::kPyTorch) {
      count_written_versions(call);
    }
    FakeWorkState state = new_work(call, op_type);
    if (!is_barrier(call.spec->kind)) {
      const auto exchange = options_->values == FakeValues::kPyTorch ? &imitate_pytorch : &mirror;
      // What the exchange needs beside the operands takes nothing of a virtual GPU's memory.
      CollectiveCall on_host = call;
      move_to_host_memory(&on_host);
      state.unknown = exchange(on_host, member_.group_rank(), member_.group_size());
    }
    return finish(call, std::move(state), start);
  });
}

FakeProcessGroup::Work FakeProcessGroup::launch_message(CollectiveCall call, c10d::OpType op_type) {
  return translating_errors([&]() -> Work {
    const std::int64_t start = start_ns();
    check(call);
    FakeWorkState state = new_work(call, op_type);
    const at::Tensor tensor = in_host_memory(call.units.front().inputs.front());
    const std::int64_t tag = call.tags.front();
    if (options_->values == FakeValues::kPyTorch) {
      // Nothing is kept, and buffers stay as they are.
    } else if (call.spec->kind == CollectiveKind::kSend) {
      sent_->add(tag, tensor);
    } else {
      const PendingReceive pending{.buffer = tensor, .tag = tag, .sent = sent_};
      // In a batch, what is sent after this counts too.
      if (!receive(pending) || num_coalescing_ > 0) {
        state.pending.push_back(pending);
      }
    }
    if (!call.peers.empty()) {
      state.source_rank = static_cast<int>(call.peers.front().expect_int());
    } else if (getSize() > 0) {
      state.source_rank = static_cast<int>((member_.group_rank() + 1) % member_.group_size());
    }
    return finish(call, std::move(state), start);
  });
}

FakeProcessGroup::Work FakeProcessGroup::finish(const CollectiveCall& call, FakeWorkState state,
                                                std::int64_t start_ns) {
  sequence_number_ += is_message(call) ? 0 : 1;
  const LaunchId launch = record(call, start_ns);
  const LaunchTicket ticket = tell_launch_clock(call, *launch_group(), member_.own_rank());
  if (ticket != kNoTime) {
    state.tickets.push_back(ticket);
  }
  if (launch != kNotTraced && call.is_async) {
    state.launches.push_back(launch);
  }
  if (num_coalescing_ > 0) {
    coalesced_.push_back(state);
  }
  return c10::make_intrusive<FakeWork>(std::move(state));
}

void FakeProcessGroup::startCoalescing() { ++num_coalescing_; }

FakeProcessGroup::Work FakeProcessGroup::endCoalescing() {
  TORCH_CHECK(!options_->error_on_collective,
              "FakeProcessGroup collective operation error (error_on_collective=true)");
  return translating_errors([&]() -> Work {
    if (num_coalescing_ == 0) {
      throw CollectiveError(
          str_cat(describe_rank(), ": the end of a coalesced launch that was not started."));
    }
    FakeWorkState all;
    if (--num_coalescing_ == 0) {
      for (FakeWorkState& state : std::exchange(coalesced_, {})) {
        all.results.insert(all.results.end(), state.results.begin(), state.results.end());
        all.pending.insert(all.pending.end(), state.pending.begin(), state.pending.end());
        all.launches.insert(all.launches.end(), state.launches.begin(), state.launches.end());
        all.tickets.insert(all.tickets.end(), state.tickets.begin(), state.tickets.end());
        all.refuses = state.refuses;
        all.description = state.description;
        all.unknown = state.unknown.empty() ? all.unknown : state.unknown;
      }
      std::erase_if(all.pending, &receive);
    }
    all.group_rank = static_cast<int>(member_.group_rank());
    all.op_type = c10d::OpType::COALESCED;
    all.sequence_number = sequence_number_;
    return c10::make_intrusive<FakeWork>(std::move(all));
  });
}

c10::intrusive_ptr<c10d::Backend> FakeProcessGroup::split(
    const c10::intrusive_ptr<c10d::Store>& /*store*/, const std::vector<int>& ranks,
    const c10::intrusive_ptr<c10d::Backend::Options>& options) {
  return translating_errors([&]() -> c10::intrusive_ptr<c10d::Backend> {
    std::vector<std::int64_t> members;
    bool is_member = false;
    for (const int group_rank : ranks) {
      members.push_back(member_.global_rank_of(group_rank));
      is_member = is_member || members.back() == member_.own_rank();
    }
    if (!is_member) {
      return {};
    }
    return c10::make_intrusive<FakeProcessGroup>(member_.in(GroupFamily::single(members)),
                                                 options ? as_fake_options(options) : options_);
  });
}

c10::intrusive_ptr<c10d::Backend> FakeProcessGroup::merge(
    const c10::intrusive_ptr<c10d::Store>& /*store*/,
    const c10::intrusive_ptr<c10d::Backend::Options>& options, const int& rank, const int& size) {
  return translating_errors([&]() -> c10::intrusive_ptr<c10d::Backend> {
    return create(rank, size, options ? options : getBackendOptions());
  });
}

FakeGroup::FakeGroup(c10::intrusive_ptr<c10d::Store> store,
                     const c10::intrusive_ptr<FakeProcessGroup>& backend,
                     const std::vector<c10::DeviceType>& devices)
    : c10d::ProcessGroup(std::move(store), backend->getRank(), backend->getSize()),
      backend_(backend) {
  setDefaultBackend(c10d::ProcessGroup::BackendType::CUSTOM);
  for (const c10::DeviceType device : devices) {
    setBackend(device, c10d::ProcessGroup::BackendType::CUSTOM,
               c10::static_intrusive_pointer_cast<c10d::Backend>(backend));
  }
}

}  // namespace polyrank
