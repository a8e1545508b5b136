// Runs a program on ranks that are processes, with the group of all of them.
#pragma once

#include <ATen/Parallel.h>
#include <matching/forked_ranks.h>
#include <polyrank/world/processes/processes_backend.h>

#include <functional>
#include <memory>
#include <numeric>
#include <vector>

namespace polyrank {

inline std::vector<std::int64_t> all_ranks(std::int64_t world_size) {
  std::vector<std::int64_t> ranks(static_cast<std::size_t>(world_size));
  std::iota(ranks.begin(), ranks.end(), std::int64_t{0});
  return ranks;
}

inline RankEndings run_processes(
    const std::shared_ptr<RankProcess>& process,
    const std::function<void(const std::shared_ptr<RankProcess>&, ProcessesBackend&)>& program) {
  at::set_num_threads(1);  // the kernels' threads do not survive a fork
  return run_forked(
      process->run(),
      [&](std::int64_t) {
        const auto world = c10::make_intrusive<ProcessesBackend>(
            process, "world", all_ranks(process->run().world_size()));
        program(process, *world);
      },
      [&] { process->end(); });
}

inline RankEndings run_processes(std::int64_t world_size,
                                 const std::function<void(ProcessesBackend&)>& program) {
  return run_processes(std::make_shared<RankProcess>(world_size),
                       [&](const auto& /*process*/, ProcessesBackend& world) { program(world); });
}

}  // namespace polyrank
