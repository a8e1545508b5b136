#include <polyrank/engine/interpreter_hooks.h>
#include <polyrank/world/rank_thread.h>
#include <polyrank/world/thread_exit.h>

#include <functional>
#include <torch/csrc/distributed/c10d/GroupRegistry.hpp>

namespace polyrank {

namespace {

thread_local RankThread* current_thread = nullptr;

// As long as it lives the thread does not take part in the turns by itself.
class Absence {
 public:
  explicit Absence(int* count) : count_(count) { ++*count_; }
  ~Absence() { --*count_; }
  Absence(const Absence&) = delete;
  Absence& operator=(const Absence&) = delete;

 private:
  int* count_;
};

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
    : RankThread(std::move(turns),
                 std::make_shared<Rank>(rank, std::move(on_turn), default_generator()->clone()),
                 rank) {}

std::shared_ptr<RankThread> RankThread::start_thread() {
  return std::shared_ptr<RankThread>(
      new RankThread(turns_, rank_, turns_->add_thread(rank_->number)));
}

RankThread* RankThread::current() noexcept { return current_thread; }

void RankThread::forget_current() noexcept { current_thread = nullptr; }

void RankThread::keep_own() {
  copy_state(*default_generator(), rank_->generator.get());
  rank_->num_compute_threads = at::get_num_threads();
}

void RankThread::take_turn() {
  copy_state(*rank_->generator, default_generator());
  if (rank_->num_compute_threads != at::get_num_threads()) {
    at::set_num_threads(rank_->num_compute_threads);
  }
  if (rank_->on_turn != nullptr) {
    rank_->on_turn();
  }
  if (known_version_ != rank_->groups_version) {
    take_over_groups();
  }
  asked_.clear();
}

void RankThread::take_over_groups() {
  for (const auto& [name, group] : known_groups_) {
    const auto found = rank_->groups.find(name);
    if (found == rank_->groups.end() || found->second != group) {
      c10d::unregister_process_group(name);
    }
  }
  for (const auto& [name, group] : rank_->groups) {
    const auto known = known_groups_.find(name);
    if (known == known_groups_.end() || known->second != group) {
      c10d::register_process_group(name, group);
    }
  }
  known_groups_ = rank_->groups;
  known_version_ = rank_->groups_version;
}

void RankThread::register_group(const std::string& name,
                                const c10::intrusive_ptr<c10d::ProcessGroup>& group) {
  c10d::register_process_group(name, group);
  rank_->groups[name] = group;
  known_groups_[name] = group;
  known_version_ = ++rank_->groups_version;
}

void RankThread::unregister_group(const std::string& name) {
  c10d::unregister_process_group(name);
  rank_->groups.erase(name);
  known_groups_.erase(name);
  known_version_ = ++rank_->groups_version;
}

void RankThread::unregister_groups() {
  c10d::unregister_all_process_groups();
  rank_->groups.clear();
  known_groups_.clear();
  known_version_ = ++rank_->groups_version;
}

// Runs `wait`, which gives the turn away and has it again when it returns or throws.
void RankThread::wait_for_turn(const std::function<void()>& wait) {
  keep_own();
  const Absence absence(&num_absences_);
  try {
    wait_without_interpreter(wait);
  } catch (...) {
    take_turn();
    throw;
  }
  take_turn();
}

void RankThread::begin() {
  exit_ = exit_of_this_thread();
  wait_without_interpreter([&] { turns_->begin(thread_); });
  const Absence absence(&num_absences_);
  current_thread = this;
  take_turn();
}

void RankThread::end() {
  if (thread_ != rank_->number) {
    keep_own();  // the rank draws on where its thread has stopped
  } else {
    for (const std::string& line : rank_->in_flight.findings(rank_->number)) {
      turns_->note(rank_->number, line);
    }
    rank_->on_turn = nullptr;
    rank_->groups.clear();
  }
  current_thread = nullptr;
  turns_->end(thread_);
}

void RankThread::abandon() { turns_->end(thread_); }

void RankThread::end_failed(const std::string& failure) {
  current_thread = nullptr;
  rank_->on_turn = nullptr;
  rank_->groups.clear();
  turns_->end_failed(rank_->number, failure);
}

void RankThread::end_threads() {
  if (turns_->num_threads(rank_->number) > 0) {
    wait_for_turn([&] { turns_->end_threads(rank_->number); });
  }
}

void RankThread::wait_for_exit() const {
  if (exit_.valid()) {
    exit_.wait();
  }
}

void RankThread::wait(const std::shared_ptr<Meeting>& meeting) {
  if (turns_->is_done(*meeting)) {
    turns_->wait(thread_, meeting);  // keeps the turn
    return;
  }
  wait_for_turn([&] { turns_->wait(thread_, meeting); });
}

void RankThread::wait_for(const std::shared_ptr<Meeting>& meeting,
                          std::chrono::milliseconds timeout) {
  wait_for_turn([&] { turns_->wait_for(thread_, meeting, timeout); });
}

void RankThread::await_notice(const void* thing, const std::shared_ptr<Meeting>& notice,
                              std::optional<std::chrono::milliseconds> timeout) {
  wait_for_turn([&] { turns_->await_notice(thread_, thing, notice, timeout); });
}

void RankThread::yield() {
  wait_for_turn([&] { turns_->yield(thread_); });
}

void RankThread::pause() {
  if (num_absences_++ == 0) {
    keep_own();
    turns_->pause(thread_);
  }
}

void RankThread::resume() {
  if (num_absences_ == 1) {
    // If this throws the rank has ended, and the thread has no turn: it stays absent for good.
    wait_without_interpreter([&] { turns_->resume(thread_); });
    take_turn();
  }
  --num_absences_;
}

bool RankThread::is_asking_again(std::size_t question, int patience) {
  constexpr std::size_t kMostQuestions = 10'000;
  if (asked_.size() >= kMostQuestions) {
    asked_.clear();
  }
  if (++asked_[question] < patience) {
    return false;
  }
  asked_.clear();
  return true;
}

}  // namespace polyrank
