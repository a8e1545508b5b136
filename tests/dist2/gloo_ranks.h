// Ranks of gloo as threads of the test, each with a group of its own.
#pragma once

#include <polyrank/dist2/gloo_backend.h>

#include <chrono>
#include <exception>
#include <functional>
#include <thread>
#include <torch/csrc/distributed/c10d/HashStore.hpp>
#include <vector>

namespace polyrank::dist2 {

constexpr std::chrono::milliseconds kTestTimeout{20'000};

// Calls `program` on each rank with its request of a group; rethrows the first rank's error.
inline void run_requests(int world_size, const std::function<void(const GroupRequest&)>& program,
                         std::chrono::milliseconds timeout = kTestTimeout) {
  const auto store = c10::make_intrusive<c10d::HashStore>();
  std::vector<std::exception_ptr> errors(static_cast<std::size_t>(world_size));
  std::vector<std::thread> threads;
  threads.reserve(errors.size());
  for (int rank = 0; rank < world_size; ++rank) {
    threads.emplace_back([&, rank] {
      try {
        program({.store = store, .rank = rank, .world_size = world_size, .timeout = timeout});
      } catch (...) {
        errors[static_cast<std::size_t>(rank)] = std::current_exception();
      }
    });
  }
  for (std::thread& thread : threads) {
    thread.join();
  }
  for (const std::exception_ptr& error : errors) {
    if (error != nullptr) {
      std::rethrow_exception(error);
    }
  }
}

inline void run_gloo(int world_size, const std::function<void(const ProcessGroup&)>& program,
                     std::chrono::milliseconds timeout = kTestTimeout) {
  run_requests(
      world_size, [&](const GroupRequest& request) { program(make_gloo_group(request)); }, timeout);
}

inline std::vector<at::Tensor> full(double value) { return {at::full({2}, value)}; }

}  // namespace polyrank::dist2
