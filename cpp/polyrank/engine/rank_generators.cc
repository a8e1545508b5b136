#include <ATen/CPUGeneratorImpl.h>
#include <ATen/Functions.h>
#include <polyrank/core/cohort_projection.h>
#include <polyrank/engine/rank_generators.h>

#include <mutex>
#include <string>
#include <unordered_map>
#include <utility>

namespace polyrank {

namespace {

// By value: locking changes the handle's constness, not the generator.
at::Generator copy_of(at::Generator generator) {
  const std::lock_guard<std::mutex> lock(generator.mutex());
  return generator.clone();
}

at::Tensor state_of(at::Generator generator) {
  const std::lock_guard<std::mutex> lock(generator.mutex());
  return generator.get_state();
}

// States are compared as bytes: they are integers, so equal bytes give equal streams.
std::string state_bytes(const at::Generator& generator) {
  const at::Tensor state = state_of(generator).contiguous();
  return {static_cast<const char*>(state.const_data_ptr()), state.nbytes()};
}

}  // namespace

void copy_generator_state(at::Generator from, at::Generator& to) {
  const std::scoped_lock lock(from.mutex(), to.mutex());
  if (from.device().is_cpu()) {  // ten times faster than through a state tensor
    auto* source = at::check_generator<at::CPUGeneratorImpl>(from);
    auto* target = at::check_generator<at::CPUGeneratorImpl>(to);
    target->set_engine(source->engine());
    target->set_next_float_normal_sample(source->next_float_normal_sample());
    target->set_next_double_normal_sample(source->next_double_normal_sample());
    return;
  }
  to.set_state(from.get_state());
}

RankGenerators::RankGenerators(const RankSet& ranks, const at::Generator& state)
    : partition_(RankPartition::uniform(ranks)), generators_{copy_of(state)} {}

std::vector<at::Generator> RankGenerators::draw(const RankPartition& partition) const {
  if (partition == partition_) {
    return generators_;
  }
  const CohortProjection own = project(partition, partition_);
  std::vector<at::Generator> drawn;
  drawn.reserve(static_cast<std::size_t>(partition.num_cohorts()));
  for (std::int32_t cohort = 0; cohort < partition.num_cohorts(); ++cohort) {
    drawn.push_back(copy_of(generator(own[cohort])));
  }
  return drawn;
}

void RankGenerators::update(const RankPartition& partition, std::span<const at::Generator> drawn) {
  if (partition == partition_) {
    return;  // the cohorts' own generators were drawn from
  }
  const CohortProjection own = project(partition, partition_);
  // Label of a cohort: the first cohort that started from the same generator and ended alike.
  std::unordered_map<std::string, std::int64_t> first_with;
  std::vector<std::int64_t> labels;
  labels.reserve(drawn.size());
  for (std::int32_t cohort = 0; cohort < partition.num_cohorts(); ++cohort) {
    const auto index = static_cast<std::size_t>(cohort);
    const std::string key = std::to_string(own[cohort]) + ":" + state_bytes(drawn[index]);
    labels.push_back(first_with.emplace(key, cohort).first->second);
  }
  const RankPartition merged = partition.coarsen(labels);
  std::vector<at::Generator> generators;
  for (std::int32_t cohort = 0; cohort < merged.num_cohorts(); ++cohort) {
    const std::int32_t source = partition.cohort_of(merged.lowest_rank(cohort));
    generators.push_back(drawn[static_cast<std::size_t>(source)]);
  }
  partition_ = merged;
  generators_ = std::move(generators);
}

void RankGenerators::assign(const RankPartition& partition, std::vector<at::Generator> generators) {
  partition_ = partition;
  generators_ = std::move(generators);
}

void RankGenerators::seed(const RankPartition& partition, std::span<const std::int64_t> seeds) {
  std::vector<at::Generator> seeded;
  seeded.reserve(seeds.size());
  for (const std::int64_t seed : seeds) {
    seeded.push_back(copy_of(generators_.front()));
    seeded.back().set_current_seed(static_cast<std::uint64_t>(seed));
  }
  assign(partition.coarsen(seeds), {});
  for (std::int32_t cohort = 0; cohort < partition_.num_cohorts(); ++cohort) {
    const std::int32_t source = partition.cohort_of(partition_.lowest_rank(cohort));
    generators_.push_back(seeded[static_cast<std::size_t>(source)]);
  }
}

void RankGenerators::set_state(const RankPartition& partition, std::span<const at::Tensor> states) {
  std::vector<at::Generator> generators;
  generators.reserve(states.size());
  std::unordered_map<std::string, std::int64_t> first_with;
  std::vector<std::int64_t> labels;
  for (std::int32_t cohort = 0; cohort < partition.num_cohorts(); ++cohort) {
    generators.push_back(copy_of(generators_.front()));
    generators.back().set_state(states[static_cast<std::size_t>(cohort)]);
    labels.push_back(first_with.emplace(state_bytes(generators.back()), cohort).first->second);
  }
  const RankPartition merged = partition.coarsen(labels);
  std::vector<at::Generator> kept;
  for (std::int32_t cohort = 0; cohort < merged.num_cohorts(); ++cohort) {
    const std::int32_t source = partition.cohort_of(merged.lowest_rank(cohort));
    kept.push_back(generators[static_cast<std::size_t>(source)]);
  }
  assign(merged, std::move(kept));
}

std::vector<at::Tensor> RankGenerators::get_state() const {
  std::vector<at::Tensor> states;
  states.reserve(generators_.size());
  for (const auto& generator : generators_) {
    states.push_back(state_of(generator));
  }
  return states;
}

}  // namespace polyrank
