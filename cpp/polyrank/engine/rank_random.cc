#include <ATen/Context.h>
#include <ATen/detail/CUDAHooksInterface.h>
#include <polyrank/core/errors.h>
#include <polyrank/core/str_cat.h>
#include <polyrank/engine/local_int_node.h>
#include <polyrank/engine/local_tensor.h>
#include <polyrank/engine/local_tensor_impl.h>
#include <polyrank/engine/random_turn.h>
#include <polyrank/engine/rank_random.h>

#include <vector>

namespace polyrank {

namespace {

void check_ranks(const LockstepMode& mode, const RankSet& ranks, const char* what) {
  if (ranks != mode.ranks()) {
    throw UsageError(str_cat("the ", what, " lives on ranks ", ranks.to_string(),
                             " but the mode runs ranks ", mode.ranks().to_string()));
  }
}

// A device as generators know it: an accelerator without an index means its current device.
c10::Device generator_device(c10::Device device) {
  return device.is_cpu() || device.has_index()
             ? device
             : at::globalContext().defaultGenerator(device).device();
}

}  // namespace

void seed_ranks(LockstepMode& mode, const c10::SymInt& seed) {
  seed_ranks_on(mode, c10::kCPU, seed);
  if (!at::hasCUDA()) {
    return;
  }
  const c10::DeviceIndex num_gpus = at::detail::getCUDAHooks().deviceCount();
  for (c10::DeviceIndex index = 0; index < num_gpus; ++index) {
    seed_ranks_on(mode, {c10::kCUDA, index}, seed);
  }
}

void seed_ranks_on(LockstepMode& mode, c10::Device device, const c10::SymInt& seed) {
  RankPartition partition = RankPartition::uniform(mode.ranks());
  std::vector<std::int64_t> seeds;
  if (const LocalIntNode* node = as_local_int(seed)) {
    partition = node->partition();
    check_ranks(mode, partition.ranks(), "seed");
    for (std::int32_t cohort = 0; cohort < partition.num_cohorts(); ++cohort) {
      seeds.push_back(node->value(cohort));
    }
  } else {
    seeds.push_back(seed.guard_int(__FILE__, __LINE__));
  }
  const RandomTurn turn;
  mode.generators(generator_device(device)).seed(partition, seeds);
}

c10::SymInt initial_seeds(LockstepMode& mode, c10::Device device) {
  const RandomTurn turn;
  const RankGenerators& generators = mode.generators(generator_device(device));
  std::vector<std::int64_t> seeds;
  seeds.reserve(static_cast<std::size_t>(generators.partition().num_cohorts()));
  for (std::int32_t cohort = 0; cohort < generators.partition().num_cohorts(); ++cohort) {
    seeds.push_back(static_cast<std::int64_t>(generators.generator(cohort).current_seed()));
  }
  return make_local_int(generators.partition(), seeds);
}

at::Tensor rank_rng_state(LockstepMode& mode, c10::Device device) {
  const RandomTurn turn;
  const RankGenerators& generators = mode.generators(generator_device(device));
  return make_local_tensor(generators.partition(), generators.get_state());
}

void set_rank_rng_state(LockstepMode& mode, c10::Device device, const at::Tensor& state) {
  const RandomTurn turn;
  RankGenerators& generators = mode.generators(generator_device(device));
  if (const LocalTensorImpl* impl = LocalTensorImpl::from(state)) {
    check_ranks(mode, impl->ranks(), "generator state");
    generators.set_state(impl->partition(), impl->cohort_tensors().tensors);
  } else {
    generators.set_state(RankPartition::uniform(mode.ranks()), std::span(&state, 1));
  }
}

}  // namespace polyrank
