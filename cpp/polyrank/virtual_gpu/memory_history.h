// What was allocated on a GPU, by whom, and when: for a forecast's report.
#pragma once

#include <c10/core/Device.h>
#include <c10/core/Stream.h>
#include <polyrank/core/export.h>

#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

namespace polyrank {

// One storage's piece of memory. Texts live as long as the process.
struct MemoryPiece {
  std::int64_t bytes = 0;  // of its block
  c10::DeviceIndex gpu = 0;
  std::uint64_t address = 0;   // of its block
  std::int64_t made_at = 0;    // the number of its event
  std::int64_t freed_at = -1;  // -1: not yet
  std::int64_t step = 0;
  std::string_view operation;  // "aten::mm"; empty: no operator
  std::string_view module;     // "layers.0.mlp"; empty: none
  bool is_backward = false;
  c10::StreamId stream = 0;
  std::string line;         // "train.py:88"; empty: not known
  std::string_view owner;   // as set_owner() says; empty: nobody said
  std::string_view detail;  // the parameter's name, say
};

// A piece was made or freed, and what its GPU held then.
struct MemoryEvent {
  std::int64_t piece;
  std::int64_t allocated;
  std::int64_t reserved;
  std::int64_t step;
  bool is_backward;
};

// NOTE [The history of memory]
// Every storage of a GPU without bytes is a piece, from the event that made it to the one that
// freed it. Who owns it is often known later only: a gradient is one when the optimizer meets it.
// So owners are set afterwards, and a peak is explained by going back to the pieces that lived
// then.
//
// Thread rule: safe from any thread.
class POLYRANK_API MemoryHistory {
 public:
  // The number of the new piece. Call site and operation are those of the calling thread.
  std::int64_t made(std::int64_t bytes, c10::DeviceIndex gpu, std::uint64_t address,
                    c10::StreamId stream, std::int64_t allocated, std::int64_t reserved);
  void freed(std::int64_t piece, std::int64_t allocated, std::int64_t reserved);

  // Says whose a piece is. The first word counts: a parameter's memory stays a parameter's.
  void set_owner(std::int64_t piece, std::string_view owner, std::string_view detail);

  // Events from now on belong to the next step.
  void next_step();

  std::vector<MemoryEvent> events() const;

  // All pieces; those that autograd kept, and nobody owns, are owned by "saved for backward": made
  // in forward by a module, and alive when a backward began.
  std::vector<MemoryPiece> pieces() const;

  // The pieces of its GPU that lived just after an event, owned as in pieces().
  std::vector<MemoryPiece> alive_after(std::int64_t event) const;

 private:
  MemoryPiece with_owner(const MemoryPiece& piece) const;
  bool is_saved(const MemoryPiece& piece) const;
  void add_event(std::int64_t piece, std::int64_t allocated, std::int64_t reserved,
                 bool is_backward);

  mutable std::mutex mutex_;
  std::vector<MemoryPiece> pieces_;  // guarded by mutex_, as is the rest
  std::vector<MemoryEvent> events_;
  std::vector<std::int64_t> backward_starts_;  // events
  bool was_backward_ = false;
  std::int64_t step_ = 0;
};

// The history that is kept at present; null: none is.
POLYRANK_API std::shared_ptr<MemoryHistory> memory_history();
POLYRANK_API void keep_memory_history(std::shared_ptr<MemoryHistory> history);

// The operator that runs in the calling thread, for the pieces that it makes.
class OperationScope {
 public:
  explicit OperationScope(std::string_view name) noexcept;
  ~OperationScope();
  OperationScope(const OperationScope&) = delete;
  OperationScope& operator=(const OperationScope&) = delete;

 private:
  std::string_view outer_;
};

}  // namespace polyrank
