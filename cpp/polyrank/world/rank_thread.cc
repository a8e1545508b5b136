#include <polyrank/engine/interpreter_hooks.h>
#include <polyrank/world/rank_thread.h>

#include <functional>

namespace polyrank {

namespace {

thread_local RankThread* current_rank = nullptr;

at::CPUGeneratorImpl* default_generator() {
  return at::check_generator<at::CPUGeneratorImpl>(at::detail::getDefaultCPUGenerator());
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
                       std::shared_ptr<Mailbox> shared_mailbox)
    : turns_(std::move(turns)),
      rank_(rank),
      shared_mailbox_(std::move(shared_mailbox)),
      generator_(default_generator()->clone()) {}

RankThread* RankThread::current() noexcept { return current_rank; }

void RankThread::keep_generator() { generator_ = default_generator()->clone(); }

void RankThread::restore_generator() {
  default_generator()->set_engine(generator_->engine());
  default_generator()->set_next_float_normal_sample(generator_->next_float_normal_sample());
  default_generator()->set_next_double_normal_sample(generator_->next_double_normal_sample());
}

void RankThread::begin() {
  wait_without_interpreter([&] { turns_->begin(rank_); });
  current_rank = this;
  restore_generator();
}

void RankThread::end() {
  current_rank = nullptr;
  turns_->end(rank_);
}

void RankThread::end_failed(const std::string& failure) {
  current_rank = nullptr;
  turns_->end_failed(rank_, failure);
}

void RankThread::wait(const std::shared_ptr<Meeting>& meeting) {
  if (turns_->is_done(*meeting)) {
    turns_->wait(rank_, meeting);  // keeps the turn
    return;
  }
  keep_generator();
  try {
    wait_without_interpreter([&] { turns_->wait(rank_, meeting); });
  } catch (...) {
    restore_generator();
    throw;
  }
  restore_generator();
}

void RankThread::yield() {
  keep_generator();
  wait_without_interpreter([&] { turns_->yield(rank_); });
  restore_generator();
}

void RankThread::pause() {
  keep_generator();
  turns_->pause(rank_);
}

void RankThread::resume() {
  wait_without_interpreter([&] { turns_->resume(rank_); });
  restore_generator();
}

std::vector<std::uint8_t> RankStore::get(const std::string& key) {
  wait({key});
  return HashStore::get(key);
}

void RankStore::wait(const std::vector<std::string>& keys) { wait(keys, timeout_); }

void RankStore::wait(const std::vector<std::string>& keys,
                     const std::chrono::milliseconds& timeout) {
  if (!check(keys)) {
    const RankPauseGuard pause;
    HashStore::wait(keys, timeout);
  }
}

}  // namespace polyrank
