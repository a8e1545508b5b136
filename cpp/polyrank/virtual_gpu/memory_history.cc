#include <polyrank/core/interned.h>
#include <polyrank/report/call_site.h>
#include <polyrank/virtual_gpu/memory_history.h>

#include <algorithm>
#include <atomic>
#include <memory>
#include <utility>

namespace polyrank {

namespace {

thread_local std::string_view current_operation;

struct Kept {
  std::mutex mutex;
  std::shared_ptr<MemoryHistory> history;  // guarded by mutex
  std::atomic<bool> is_on{false};
};

Kept& kept() {
  static auto* kept = new Kept();  // storages may outlive all
  return *kept;
}

}  // namespace

std::int64_t MemoryHistory::made(std::int64_t bytes, c10::DeviceIndex gpu, std::uint64_t address,
                                 c10::StreamId stream, std::int64_t allocated,
                                 std::int64_t reserved) {
  auto* const find_place = call_site_finders().module_place;
  const ModulePlace place = find_place == nullptr ? ModulePlace() : find_place();
  std::string line = source_line_text();  // takes the interpreter's lock: not under ours
  const std::lock_guard<std::mutex> lock(mutex_);
  const auto piece = static_cast<std::int64_t>(pieces_.size());
  pieces_.push_back({.bytes = bytes,
                     .gpu = gpu,
                     .address = address,
                     .made_at = static_cast<std::int64_t>(events_.size()),
                     .freed_at = -1,
                     .step = step_,
                     .operation = current_operation,
                     .module = place.path,
                     .is_backward = place.is_backward,
                     .stream = stream,
                     .line = std::move(line),
                     .owner = {},
                     .detail = {}});
  add_event(piece, allocated, reserved, place.is_backward);
  return piece;
}

void MemoryHistory::freed(std::int64_t piece, std::int64_t allocated, std::int64_t reserved) {
  const std::lock_guard<std::mutex> lock(mutex_);
  pieces_.at(static_cast<std::size_t>(piece)).freed_at = static_cast<std::int64_t>(events_.size());
  add_event(piece, allocated, reserved, was_backward_);
}

void MemoryHistory::add_event(std::int64_t piece, std::int64_t allocated, std::int64_t reserved,
                              bool is_backward) {
  if (is_backward && !was_backward_) {
    backward_starts_.push_back(static_cast<std::int64_t>(events_.size()));
  }
  was_backward_ = is_backward;
  events_.push_back({.piece = piece,
                     .allocated = allocated,
                     .reserved = reserved,
                     .step = step_,
                     .is_backward = is_backward});
}

void MemoryHistory::set_owner(std::int64_t piece, std::string_view owner, std::string_view detail) {
  const std::lock_guard<std::mutex> lock(mutex_);
  MemoryPiece& owned = pieces_.at(static_cast<std::size_t>(piece));
  if (owned.owner.empty()) {
    owned.owner = interned(owner);
    owned.detail = interned(detail);
  }
}

void MemoryHistory::next_step() {
  const std::lock_guard<std::mutex> lock(mutex_);
  ++step_;
  was_backward_ = false;
}

std::vector<MemoryEvent> MemoryHistory::events() const {
  const std::lock_guard<std::mutex> lock(mutex_);
  return events_;
}

std::vector<MemoryPiece> MemoryHistory::pieces() const {
  const std::lock_guard<std::mutex> lock(mutex_);
  std::vector<MemoryPiece> pieces;
  pieces.reserve(pieces_.size());
  for (const MemoryPiece& piece : pieces_) {
    pieces.push_back(with_owner(piece));
  }
  return pieces;
}

MemoryPiece MemoryHistory::with_owner(const MemoryPiece& piece) const {
  MemoryPiece owned = piece;
  if (owned.owner.empty() && is_saved(piece)) {
    owned.owner = "saved for backward";
  }
  return owned;
}

std::vector<MemoryPiece> MemoryHistory::alive_after(std::int64_t event) const {
  const std::lock_guard<std::mutex> lock(mutex_);
  const auto piece_of_event = events_.at(static_cast<std::size_t>(event)).piece;
  const c10::DeviceIndex gpu = pieces_.at(static_cast<std::size_t>(piece_of_event)).gpu;
  std::vector<MemoryPiece> alive;
  for (const MemoryPiece& piece : pieces_) {
    if (piece.gpu == gpu && piece.made_at <= event &&
        (piece.freed_at < 0 || piece.freed_at > event)) {
      alive.push_back(with_owner(piece));
    }
  }
  return alive;
}

bool MemoryHistory::is_saved(const MemoryPiece& piece) const {
  // What no operator made is a storage that was given its size back.
  if (piece.is_backward || piece.module.empty() || piece.operation.empty()) {
    return false;
  }
  const auto start =
      std::upper_bound(backward_starts_.begin(), backward_starts_.end(), piece.made_at);
  return start != backward_starts_.end() && (piece.freed_at < 0 || piece.freed_at > *start);
}

std::shared_ptr<MemoryHistory> memory_history() {
  Kept& one = kept();
  if (!one.is_on.load(std::memory_order_relaxed)) {
    return nullptr;
  }
  const std::lock_guard<std::mutex> lock(one.mutex);
  return one.history;
}

void keep_memory_history(std::shared_ptr<MemoryHistory> history) {
  Kept& one = kept();
  const std::lock_guard<std::mutex> lock(one.mutex);
  one.is_on = history != nullptr;
  one.history = std::move(history);
}

OperationScope::OperationScope(std::string_view name) noexcept
    : outer_(std::exchange(current_operation, name)) {}

OperationScope::~OperationScope() { current_operation = outer_; }

}  // namespace polyrank
