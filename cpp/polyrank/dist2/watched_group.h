// A group of real processes that says who is gone.
#pragma once

#include <polyrank/core/export.h>
#include <polyrank/dist2/independent_group.h>
#include <polyrank/dist2/presence.h>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <exception>
#include <memory>
#include <string>
#include <string_view>
#include <torch/csrc/distributed/c10d/Work.hpp>
#include <vector>

namespace polyrank::dist2 {

// The members of a group, as one of them knows them. Works hold it, since they may outlive the
// group.
//
// Thread rule: safe from any thread.
class POLYRANK_API Members {
 public:
  // `name`: the group's; `addresses`: as roll_call() gave them.
  Members(std::string name, Store store, int rank, std::vector<std::string> addresses,
          std::chrono::milliseconds timeout);

  // A launch as messages name it.
  std::string label(std::string_view launch, std::int64_t number) const;

  int rank() const noexcept { return rank_; }
  const Store& store() const noexcept { return store_; }
  std::chrono::milliseconds timeout() const noexcept { return timeout_; }

  // Tells the others that `launch` failed here, asks who is there, and throws.
  // Throws: CollectiveError with what happened, naming the ranks whose processes have ended, or
  //         those that did not fail in the same way. Takes a second at most.
  [[noreturn]] void explain(const std::string& launch, const std::string& error) const;

 private:
  std::string ended_members() const;
  std::string findings() const;

  std::string name_;
  Store store_;
  int rank_;
  std::vector<std::string> addresses_;
  std::chrono::milliseconds timeout_;
};

// As the group that PyTorch's factory makes, but: failed waits name ranks (see NOTE [Who is gone]),
// and launches after shutdown() or abort() are errors.
class POLYRANK_API WatchedGroup final : public IndependentGroup {
 public:
  using Tensors = std::vector<at::Tensor>;
  using Work = c10::intrusive_ptr<c10d::Work>;

  // Of a backend's options, which the backend alone can copy.
  using CopyOptions =
      c10::intrusive_ptr<c10d::Backend::Options> (*)(const c10d::Backend::Options& options);

  WatchedGroup(int size, std::shared_ptr<const Members> members, CopyOptions copy_options);

  // Throws, all of them: CollectiveError after shutdown() or abort(), and for a peer that the group
  // has not; their Works' wait() as Members::explain().
  Work broadcast(Tensors& tensors, const c10d::BroadcastOptions& options) override;
  Work allreduce(Tensors& tensors, const c10d::AllreduceOptions& options) override;
  Work allreduce_coalesced(Tensors& tensors,
                           const c10d::AllreduceCoalescedOptions& options) override;
  Work reduce(Tensors& tensors, const c10d::ReduceOptions& options) override;
  Work allgather(std::vector<Tensors>& outputs, Tensors& inputs,
                 const c10d::AllgatherOptions& options) override;
  Work all_gather_single(at::Tensor& output, at::Tensor& input,
                         const c10d::AllgatherOptions& options) override;
  Work allgather_coalesced(std::vector<Tensors>& outputs, Tensors& inputs,
                           const c10d::AllgatherOptions& options) override;
  Work all_gather_single_coalesced(Tensors& outputs, Tensors& inputs,
                                   const c10d::AllgatherOptions& options) override;
  Work gather(std::vector<Tensors>& outputs, Tensors& inputs,
              const c10d::GatherOptions& options) override;
  Work scatter(Tensors& outputs, std::vector<Tensors>& inputs,
               const c10d::ScatterOptions& options) override;
  Work reduce_scatter(Tensors& outputs, std::vector<Tensors>& inputs,
                      const c10d::ReduceScatterOptions& options) override;
  Work reduce_scatter_single(at::Tensor& output, at::Tensor& input,
                             const c10d::ReduceScatterOptions& options) override;
  Work reduce_scatter_single_coalesced(Tensors& outputs, Tensors& inputs,
                                       const c10d::ReduceScatterOptions& options) override;
  Work all_to_all_single(at::Tensor& output, at::Tensor& input,
                         std::vector<std::int64_t>& output_split_sizes,
                         std::vector<std::int64_t>& input_split_sizes,
                         const c10d::AllToAllOptions& options) override;
  Work alltoall(Tensors& outputs, Tensors& inputs, const c10d::AllToAllOptions& options) override;
  Work send(Tensors& tensors, int peer, int tag) override;
  Work recv(Tensors& tensors, int peer, int tag) override;
  Work recvAnysource(Tensors& tensors, int tag) override;
  Work barrier(const c10d::BarrierOptions& options) override;
  void monitoredBarrier(const c10d::BarrierOptions& options, bool wait_all_ranks) override;

  void shutdown() override;
  void abort() override;

 protected:
  c10::intrusive_ptr<c10d::Backend::Options> new_options() const override;
  void meet(const std::string& name, int rank, int size) const override;
  void meet_merged(const Store& store, int rank, int size,
                   std::chrono::milliseconds timeout) const override;
  c10::intrusive_ptr<IndependentGroup> adopt(const dist2::ProcessGroup& group) const override;

 private:
  void check_open(std::string_view launch) const;
  void check_peer(std::string_view launch, int peer) const;
  template <class Launch>
  Work watched(std::string_view launch, const Launch& function);

  std::shared_ptr<const Members> members_;
  CopyOptions copy_options_;
  std::atomic<std::int64_t> num_launches_ = 0;
  std::atomic<bool> is_shut_down_ = false;
};

}  // namespace polyrank::dist2
