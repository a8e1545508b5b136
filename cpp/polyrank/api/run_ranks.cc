#include <polyrank/api/run_ranks.h>
#include <polyrank/world/threads/own_directory.h>
#include <polyrank/world/threads/threads_backend.h>

#include <exception>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

namespace polyrank {

namespace {

std::string text_of(const std::exception_ptr& error) {
  try {
    std::rethrow_exception(error);
  } catch (const std::exception& known) {
    return known.what();
  } catch (...) {
    return "an exception that is no std::exception";
  }
}

// The error of the first rank that failed.
class FirstError {
 public:
  void set(const std::exception_ptr& error) {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (error_ == nullptr) {
      error_ = error;
    }
  }
  void rethrow() const {
    if (error_ != nullptr) {
      std::rethrow_exception(error_);
    }
  }

 private:
  std::mutex mutex_;
  std::exception_ptr error_;
};

void run_rank(const std::shared_ptr<RankThread>& thread,
              const std::function<void(RankContext&)>& program, FirstError* first_error) {
  try {
    thread->begin();
    own_directory();
    RankContext context(thread->rank(), thread->turns().world_size(),
                        [&](const std::string& name, const std::vector<std::int64_t>& members) {
                          return c10::make_intrusive<ThreadsBackend>(thread, name, members);
                        });
    program(context);
  } catch (...) {
    const std::exception_ptr error = std::current_exception();
    first_error->set(error);  // while this rank has the turn, so that the cause comes first
    thread->end_failed(text_of(error));
    return;
  }
  thread->end();
}

}  // namespace

void run_ranks(std::int64_t world_size, const std::function<void(RankContext&)>& program,
               const TurnOptions& options) {
  const auto turns = std::make_shared<RankTurns>(world_size, options);
  std::vector<std::shared_ptr<RankThread>> ranks;
  ranks.reserve(static_cast<std::size_t>(world_size));
  for (std::int64_t rank = 0; rank < world_size; ++rank) {
    ranks.push_back(std::make_shared<RankThread>(turns, rank));
  }
  FirstError first_error;
  std::vector<std::thread> threads;
  threads.reserve(ranks.size());
  for (const auto& rank : ranks) {
    threads.emplace_back(
        [&rank, &program, &first_error] { run_rank(rank, program, &first_error); });
  }
  for (std::thread& thread : threads) {
    thread.join();
  }
  first_error.rethrow();
}

}  // namespace polyrank
