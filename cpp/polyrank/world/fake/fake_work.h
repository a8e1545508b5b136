// The Work objects of the fake world.
#pragma once

#include <ATen/core/Tensor.h>
#include <polyrank/core/export.h>
#include <polyrank/exchange/collective_work.h>
#include <polyrank/report/collective_record.h>
#include <polyrank/world/fake/sent_messages.h>
#include <polyrank/world/launch_clock.h>

#include <chrono>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

namespace polyrank {

// A receive whose message is not known when it is launched: this rank may send one like it before
// it waits, as ring exchanges do.
struct PendingReceive {
  at::Tensor buffer;
  std::int64_t tag = 0;
  std::shared_ptr<const SentMessages> sent;
};

// What a launch of the fake world tells its Work.
struct FakeWorkState {
  std::vector<at::Tensor> results;
  int group_rank = 0;
  c10d::OpType op_type = c10d::OpType::UNKNOWN;
  std::uint64_t sequence_number = 0;
  int source_rank = -1;  // group rank of who sent, of a receive
  std::vector<PendingReceive> pending;
  std::vector<LaunchId> launches;     // that are waited for with it, as the record knows them
  std::vector<LaunchTicket> tickets;  // likewise, as who gives launches a time knows them
  std::string unknown;                // what the outputs should hold and can't; empty: all is known
  bool refuses = false;               // whether waiting for what is unknown is an error
  std::string description;            // of the launch, for that error
};

// Complete when it is made, but for messages: these are looked for once more when the program
// waits.
//
// Thread rule: safe from any thread.
class POLYRANK_API FakeWork final : public CompletedWork {
 public:
  explicit FakeWork(FakeWorkState state);

  // Throws: CollectiveError if the outputs hold what can't be known, where that is to be an error.
  bool wait(std::chrono::milliseconds timeout) override;
  void synchronize() override { wait(kNoTimeout); }
  void blockCurrentStream() override { wait(kNoTimeout); }
  // Complete; on a GPU, who waits for it waits for the launch's time, as DistributedDataParallel
  // does.
  c10::intrusive_ptr<c10::ivalue::Future> getFuture() override;
  int sourceRank() const override { return source_rank_; }
  std::uint64_t getSequencenumber() const override { return sequence_number_; }

 private:
  std::mutex mutex_;
  std::uint64_t sequence_number_;
  int source_rank_;
  std::vector<PendingReceive> pending_;
  std::vector<LaunchId> launches_;
  std::vector<LaunchTicket> tickets_;
  std::string unknown_;
  bool refuses_;
  std::string description_;
};

// Fills the buffer with the message if there is one by now, else with zeros; tells which.
POLYRANK_API bool receive(const PendingReceive& pending);

}  // namespace polyrank
