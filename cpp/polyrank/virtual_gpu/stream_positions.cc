#include <ATen/CPUGeneratorImpl.h>
#include <polyrank/core/errors.h>
#include <polyrank/core/str_cat.h>
#include <polyrank/virtual_gpu/stream_positions.h>
#include <torch/library.h>

#include <optional>

namespace polyrank {

at::Tensor rng_state_after(const at::Tensor& state, std::int64_t numbers) {
  if (numbers < 0) {
    throw UsageError(str_cat("a stream of random numbers can't go back: numbers is ", numbers));
  }
  at::Generator generator = at::detail::createCPUGenerator();
  generator.set_state(state);
  auto* const stream = at::check_generator<at::CPUGeneratorImpl>(generator);
  at::mt19937 engine = stream->engine();
  for (std::int64_t i = 0; i < numbers; ++i) {
    engine();
  }
  stream->set_engine(engine);
  stream->set_next_float_normal_sample(std::nullopt);
  stream->set_next_double_normal_sample(std::nullopt);
  return generator.get_state();
}

TORCH_LIBRARY_FRAGMENT(polyrank, m) {
  m.def("_rng_state_after(Tensor state, SymInt numbers) -> Tensor");
}

TORCH_LIBRARY_IMPL(polyrank, CPU, m) { m.impl("_rng_state_after", &rng_state_after); }

}  // namespace polyrank
