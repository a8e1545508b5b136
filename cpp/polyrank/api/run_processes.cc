#include <ATen/core/ivalue.h>
#include <polyrank/api/run_processes.h>
#include <polyrank/world/processes/forked_ranks.h>
#include <polyrank/world/processes/processes_backend.h>
#include <torch/csrc/jit/serialization/pickle.h>

#include <memory>
#include <string>

namespace polyrank {

namespace {

std::string run_rank(const std::shared_ptr<RankProcess>& process,
                     const std::function<std::vector<at::Tensor>(RankContext&)>& program) {
  RankContext context(process->rank(), process->run().world_size(),
                      [&](const std::string& name, const std::vector<std::int64_t>& members) {
                        return c10::make_intrusive<ProcessesBackend>(process, name, members);
                      });
  const std::vector<char> bytes = torch::jit::pickle_save(c10::IValue(program(context)));
  return {bytes.begin(), bytes.end()};
}

// The first to fail is the cause.
void throw_first(const std::vector<RankEnding>& endings) {
  const RankEnding* first = nullptr;
  for (const RankEnding& ending : endings) {
    if (ending.fault && (first == nullptr || ending.when_failed < first->when_failed)) {
      first = &ending;
    }
  }
  if (first != nullptr) {
    std::rethrow_exception(to_exception(*first->fault));
  }
}

}  // namespace

std::vector<std::vector<at::Tensor>> run_processes(
    std::int64_t world_size, const std::function<std::vector<at::Tensor>(RankContext&)>& program,
    const SharedRunOptions& options) {
  const auto process = std::make_shared<RankProcess>(world_size, options);
  const std::vector<RankEnding> endings =
      fork_ranks(process, [&](std::int64_t /*rank*/) { return run_rank(process, program); });
  throw_first(endings);
  std::vector<std::vector<at::Tensor>> results;
  results.reserve(endings.size());
  for (const RankEnding& ending : endings) {
    results.push_back(
        torch::jit::pickle_load({ending.result.begin(), ending.result.end()}).toTensorVector());
  }
  return results;
}

}  // namespace polyrank
