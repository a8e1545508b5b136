#include <polyrank/core/errors.h>
#include <polyrank/engine/interpreter_hooks.h>
#include <polyrank/exchange/reduction.h>
#include <polyrank/world/processes/rank_process.h>
#include <sys/ioctl.h>
#include <sys/stat.h>

#include <algorithm>
#include <chrono>
#include <functional>
#include <thread>
#include <utility>

namespace polyrank {

namespace {

struct ByteRange {
  const std::byte* begin;
  const std::byte* end;
};

// From the first element to the last.
std::optional<ByteRange> range_of(const at::Tensor& tensor) {
  if (!tensor.defined() || !tensor.has_storage() || tensor.numel() == 0 || !holds_values(tensor)) {
    return std::nullopt;
  }
  std::int64_t last = 0;
  for (std::int64_t dim = 0; dim < tensor.dim(); ++dim) {
    last += (tensor.size(dim) - 1) * tensor.stride(dim);
  }
  const auto* const begin = static_cast<const std::byte*>(tensor.const_data_ptr());
  return ByteRange{begin, begin + (last + 1) * static_cast<std::int64_t>(tensor.element_size())};
}

bool overlap(const std::vector<at::Tensor>& written, const std::vector<at::Tensor>& used) {
  for (const at::Tensor& one : written) {
    const std::optional<ByteRange> target = range_of(one);
    for (const at::Tensor& other : used) {
      const std::optional<ByteRange> range = range_of(other);
      if (target && range && target->begin < range->end && range->begin < target->end) {
        return true;
      }
    }
  }
  return false;
}

// What a rank brings may stay in the arena a while if it is no more.
constexpr std::size_t kSmallBytes = std::size_t{1} << 16;

std::size_t num_bytes(const std::vector<CollectiveUnit>& units) {
  std::size_t sum = 0;
  for (const CollectiveUnit& unit : units) {
    for (const auto* const tensors : {&unit.inputs, &unit.outputs}) {
      for (const at::Tensor& tensor : *tensors) {
        sum += static_cast<std::size_t>(tensor.numel() * tensor.element_size());
      }
    }
  }
  return sum;
}

std::optional<std::uint64_t> inode_of(int file) noexcept {
  struct stat status{};
  return fstat(file, &status) == 0 ? std::optional<std::uint64_t>(status.st_ino) : std::nullopt;
}

// Whether something that was written to the pipe has not been read.
bool holds_unread(const std::pair<int, std::uint64_t>& pipe) noexcept {
  int num_bytes = 0;
  return inode_of(pipe.first) == pipe.second && ioctl(pipe.first, FIONREAD, &num_bytes) == 0 &&
         num_bytes > 0;
}

}  // namespace

ProcessHooks& process_hooks() noexcept {
  static ProcessHooks hooks;
  return hooks;
}

void without_interpreter(const std::function<void()>& f) {
  const auto release = interpreter_hooks().without_interpreter;
  if (release != nullptr) {
    release(f);
  } else {
    f();
  }
}

bool PendingLaunch::is_done_locked() const noexcept {
  return !meeting_.is_held() || static_cast<bool>(meeting_->is_done);
}

bool PendingLaunch::has_failed_locked() const noexcept {
  return meeting_.is_held() && is_done_locked() && meeting_->fault.has_value();
}

bool PendingLaunch::is_done() const {
  const std::lock_guard lock(mutex_);
  return is_done_locked();
}

bool PendingLaunch::has_failed() const {
  const std::lock_guard lock(mutex_);
  return has_failed_locked();
}

std::int64_t PendingLaunch::sender() const {
  const std::lock_guard lock(mutex_);
  return sender_;
}

bool PendingLaunch::will_write(const std::vector<at::Tensor>& tensors) const {
  const std::lock_guard lock(mutex_);
  return std::ranges::any_of(
      units_, [&](const CollectiveUnit& unit) { return overlap(unit.outputs, tensors); });
}

// Requires: the lock, is_done_locked()
void PendingLaunch::take_results() {
  if (!units_.empty()) {
    sender_ = meeting_->participants.front();
    if (meeting_->outcome != nullptr) {
      take_gifts(*static_cast<const SharedOutcome*>(meeting_->outcome.get()), participant_, units_);
    }
    is_small_ = num_bytes(units_) <= kSmallBytes;
    units_.clear();
  }
  if (num_waiting_ == 0 && is_small_) {
    meeting_.leave_later();
  } else if (num_waiting_ == 0) {
    meeting_.leave();
  }
}

void PendingLaunch::settle(const std::function<void(const HeldMeeting&)>& wait) {
  std::unique_lock lock(mutex_);
  if (!meeting_.is_held()) {
    return;
  }
  ++num_waiting_;
  lock.unlock();
  try {
    wait(meeting_);
  } catch (...) {
    lock.lock();
    --num_waiting_;
    throw;
  }
  lock.lock();
  --num_waiting_;
  take_results();
}

bool PendingLaunch::settle_if_done() {
  const std::lock_guard lock(mutex_);
  if (!is_done_locked() || has_failed_locked() || num_waiting_ > 0) {
    return false;
  }
  if (meeting_.is_held()) {
    take_results();
  }
  return true;
}

void RankProcess::end() {
  for (const std::string& line : in_flight_.findings(rank())) {
    run_->note(line);
  }
  await_reader();
  run_->end();
}

void RankProcess::set_read_by_launcher(const std::vector<int>& files) {
  for (const int file : files) {
    if (const auto inode = inode_of(file)) {
      read_by_launcher_.emplace_back(file, *inode);
    }
  }
}

void RankProcess::await_reader() const {
  if (!run_->is_ordered() || !run_->has_turn()) {
    return;
  }
  // No longer: whoever reads what the launcher writes may have stopped.
  const auto until = std::chrono::steady_clock::now() + std::chrono::seconds(10);
  while (std::ranges::any_of(read_by_launcher_, holds_unread) &&
         std::chrono::steady_clock::now() < until) {
    std::this_thread::sleep_for(std::chrono::microseconds(50));
  }
}

void RankProcess::take_turn() {
  if (!run_->has_turn()) {
    without_interpreter([&] { run_->take_turn(process_hooks().run_signal_handlers); });
  }
}

void RankProcess::yield() {
  if (run_->is_ordered()) {
    without_interpreter([&] {
      await_reader();
      run_->yield(process_hooks().run_signal_handlers);
    });
  }
}

void RankProcess::wait(const HeldMeeting& meeting,
                       std::optional<std::chrono::milliseconds> timeout) {
  if (!run_->is_rank()) {
    throw UsageError(
        "only ranks wait: this process is the launcher of the run, or was started by a rank.");
  }
  const ProcessHooks& hooks = process_hooks();
  SharedRun::WaitOptions options{
      .timeout = timeout, .on_interrupt = hooks.run_signal_handlers, .help = [](void* outcome) {
        static_cast<const SharedOutcome*>(outcome)->fold->help();
      }};
  if (!meeting->is_done) {
    options.may_go_on = hooks.has_other_threads != nullptr && hooks.has_other_threads();
  }
  if (meeting->is_done) {
    run_->wait(meeting, options);
    return;
  }
  without_interpreter([&] {
    await_reader();
    run_->wait(meeting, options);
  });
}

std::vector<RankProcess::Pending> RankProcess::pending() const {
  const std::lock_guard lock(mutex_);
  return {pending_.begin(), pending_.end()};
}

void RankProcess::add(const Pending& launch) {
  const std::lock_guard lock(mutex_);
  pending_.push_back(launch);
}

void RankProcess::remove(const Pending& launch) {
  const std::lock_guard lock(mutex_);
  pending_.remove(launch);
}

void RankProcess::settle(const Pending& launch, std::optional<std::chrono::milliseconds> timeout) {
  launch->settle([&](const HeldMeeting& meeting) { wait(meeting, timeout); });
  remove(launch);
  for (const Pending& other : pending()) {
    if (other->settle_if_done()) {
      remove(other);
    }
  }
}

void RankProcess::settle_before(const CollectiveCall& call) {
  for (const Pending& launch : pending()) {
    if (launch->settle_if_done()) {
      remove(launch);
    } else if (!launch->is_message() && !launch->has_failed() &&
               launch->will_write(call.tensors())) {
      settle(launch);
    }
  }
}

}  // namespace polyrank
