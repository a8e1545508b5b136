// The process group of a rank that has nobody to talk to.
#pragma once

#include <ATen/core/Tensor.h>
#include <polyrank/core/export.h>
#include <polyrank/exchange/collective_call.h>
#include <polyrank/exchange/table_backend.h>
#include <polyrank/report/collective_record.h>
#include <polyrank/world/fake/fake_member.h>
#include <polyrank/world/fake/fake_options.h>
#include <polyrank/world/fake/fake_work.h>
#include <polyrank/world/fake/sent_messages.h>

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <torch/csrc/distributed/c10d/Backend.hpp>
#include <torch/csrc/distributed/c10d/ProcessGroup.hpp>
#include <vector>

namespace polyrank {

// Runs each collective and point-to-point of c10d::Backend for one rank alone: checks the
// arguments as a real group would, counts the launch, fills the outputs as the options say, and
// gives a Work that is complete.
//
// Thread rule: as c10d's backends: launches of one group come from one thread at a time.
//
// Invariants: (1) every output that a rank gets is written before its Work's wait() returns, unless
// the values are kPyTorch; (2) sequence numbers count collectives, from 0.
class POLYRANK_API FakeProcessGroup final : public TableBackend {
 public:
  using Options = c10::intrusive_ptr<FakeOptions>;

  // A group of the ranks 0..size-1.
  // Throws: UsageError if `rank` is not one of them. `options`: null for PyTorch's defaults and
  // ours.
  static c10::intrusive_ptr<FakeProcessGroup> create(
      int rank, int size, const c10::intrusive_ptr<c10d::Backend::Options>& options = {});

  // A group of a world that can become another rank.
  // Throws: UsageError if its rank is not in it, or the options are another backend's.
  static c10::intrusive_ptr<FakeProcessGroup> of_member(
      FakeMember member, const c10::intrusive_ptr<c10d::Backend::Options>& options = {});

  FakeProcessGroup(FakeMember member, Options options);

  const FakeMember& member() const noexcept { return member_; }
  const Options& options() const noexcept { return options_; }

  const std::string getBackendName() const override { return "fake"; }
  c10::intrusive_ptr<c10d::Backend::Options> getBackendOptions() override { return options_; }

  // What a receive of that tag, dtype and size gets, until this rank sends such a message itself.
  void expect_message(const at::Tensor& message, std::int64_t tag) { sent_->add(tag, message); }

  // So a batch of messages has a Work for each, as of gloo, which programs may index; NCCL has one
  // for all.
  bool supportsCoalescing() const override { return false; }
  bool supportsSplitting() const override { return true; }
  void startCoalescing() override;
  Work endCoalescing() override;

  void setSequenceNumberForGroup() override {}
  std::uint64_t getSequenceNumberForGroup() override { return sequence_number_; }
  void setTimeout(std::chrono::milliseconds timeout) override { options_->timeout = timeout; }
  c10d::ErrorType getError() override { return c10d::ErrorType::SUCCESS; }
  void enableCollectivesTiming() override {}
  void waitForPendingWorks() override {}

  // A group of these group ranks, in this order. Null if this rank is not among them.
  // Throws: UsageError if one is not of this group, or repeated.
  c10::intrusive_ptr<c10d::Backend> split(
      const c10::intrusive_ptr<c10d::Store>& store, const std::vector<int>& ranks,
      const c10::intrusive_ptr<c10d::Backend::Options>& options) override;
  // A group of `size` ranks in which this one is `rank`: who the others are, nobody says.
  c10::intrusive_ptr<c10d::Backend> merge(const c10::intrusive_ptr<c10d::Store>& store,
                                          const c10::intrusive_ptr<c10d::Backend::Options>& options,
                                          const int& rank, const int& size) override;

  // After either, a launch is an error.
  void abort() override { is_shut_down_ = true; }
  void shutdown() override { is_shut_down_ = true; }

 protected:
  Work launch(CollectiveCall call, c10d::OpType op_type) override;
  Work launch_message(CollectiveCall call, c10d::OpType op_type) override;

 private:
  void check(const CollectiveCall& call) const;
  LaunchId record(const CollectiveCall& call, std::int64_t start_ns);
  const std::shared_ptr<const Group>& launch_group();
  FakeWorkState new_work(const CollectiveCall& call, c10d::OpType op_type) const;
  Work finish(const CollectiveCall& call, FakeWorkState state, std::int64_t start_ns);
  std::string describe_rank() const;
  std::string label() const;

  FakeMember member_;
  std::shared_ptr<const Group> launch_group_;  // as of launch_group_rank_
  std::int64_t launch_group_rank_ = -1;
  Options options_;
  std::shared_ptr<SentMessages> sent_ = std::make_shared<SentMessages>();
  std::atomic<std::uint64_t> sequence_number_ = 0;
  std::atomic<bool> is_shut_down_ = false;
  std::vector<FakeWorkState> coalesced_;
  int num_coalescing_ = 0;  // started and not ended
};

// A process group of c10d whose rank is the one that runs at the moment.
class POLYRANK_API FakeGroup final : public c10d::ProcessGroup {
 public:
  FakeGroup(c10::intrusive_ptr<c10d::Store> store,
            const c10::intrusive_ptr<FakeProcessGroup>& backend,
            const std::vector<c10::DeviceType>& devices);
  int getRank() const override { return static_cast<int>(backend_->member().group_rank()); }

 private:
  c10::intrusive_ptr<FakeProcessGroup> backend_;
};

}  // namespace polyrank
