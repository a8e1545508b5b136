#include <polyrank/engine/interpreter_hooks.h>
#include <polyrank/world/rank_thread.h>

#include <functional>

namespace polyrank {

namespace {

thread_local RankThread* current_rank = nullptr;

at::CPUGeneratorImpl* default_generator() {
  return at::check_generator<at::CPUGeneratorImpl>(at::detail::getDefaultCPUGenerator());
}

// Not by clone(), which seeds a new generator first.
void copy_state(at::CPUGeneratorImpl& from, at::CPUGeneratorImpl* to) {
  to->set_engine(from.engine());
  to->set_next_float_normal_sample(from.next_float_normal_sample());
  to->set_next_double_normal_sample(from.next_double_normal_sample());
}

// Others need the interpreter while this thread waits for its turn.
void wait_without_interpreter(const std::function<void()>& wait) {
  const auto run = interpreter_hooks().without_interpreter;
  if (run != nullptr) {
    run(wait);
  } else {
    wait();
  }
}

}  // namespace

RankThread::RankThread(std::shared_ptr<RankTurns> turns, std::int64_t rank,
                       std::function<void()> on_turn)
    : turns_(std::move(turns)),
      rank_(rank),
      on_turn_(std::move(on_turn)),
      generator_(default_generator()->clone()) {}

RankThread* RankThread::current() noexcept { return current_rank; }

void RankThread::forget_current() noexcept { current_rank = nullptr; }

void RankThread::keep_generator() { copy_state(*default_generator(), generator_.get()); }

void RankThread::take_turn() {
  copy_state(*generator_, default_generator());
  if (on_turn_ != nullptr) {
    on_turn_();
  }
}

// Runs `wait`, which gives the turn away and has it again when it returns or throws.
void RankThread::wait_for_turn(const std::function<void()>& wait) {
  keep_generator();
  try {
    wait_without_interpreter(wait);
  } catch (...) {
    take_turn();
    throw;
  }
  take_turn();
}

void RankThread::begin() {
  wait_without_interpreter([&] { turns_->begin(rank_); });
  current_rank = this;
  take_turn();
}

void RankThread::end() {
  for (const std::string& line : in_flight_.findings(rank_)) {
    turns_->note(rank_, line);
  }
  current_rank = nullptr;
  on_turn_ = nullptr;
  turns_->end(rank_);
}

void RankThread::end_failed(const std::string& failure) {
  current_rank = nullptr;
  on_turn_ = nullptr;
  turns_->end_failed(rank_, failure);
}

void RankThread::wait(const std::shared_ptr<Meeting>& meeting) {
  if (turns_->is_done(*meeting)) {
    turns_->wait(rank_, meeting);  // keeps the turn
    return;
  }
  wait_for_turn([&] { turns_->wait(rank_, meeting); });
}

void RankThread::wait_for(const std::shared_ptr<Meeting>& meeting,
                          std::chrono::milliseconds timeout) {
  wait_for_turn([&] { turns_->wait_for(rank_, meeting, timeout); });
}

void RankThread::yield() {
  wait_for_turn([&] { turns_->yield(rank_); });
}

void RankThread::pause() {
  keep_generator();
  turns_->pause(rank_);
}

void RankThread::resume() {
  wait_without_interpreter([&] { turns_->resume(rank_); });
  take_turn();
}

}  // namespace polyrank
