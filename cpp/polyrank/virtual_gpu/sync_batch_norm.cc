#include <ATen/OpMathType.h>
#include <ATen/TensorOperators.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/ops/full.h>
#include <ATen/ops/rsqrt.h>
#include <ATen/ops/var_mean.h>
#include <polyrank/virtual_gpu/registration.h>
#include <polyrank/virtual_gpu/sync_batch_norm.h>
#include <torch/library.h>

#include <cstdint>
#include <optional>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

namespace polyrank {

namespace {

using at::Tensor;
using Optional = std::optional<Tensor>;
using Two = std::tuple<Tensor, Tensor>;

constexpr std::int64_t kChannels = 1;  // their dimension

// Undefined where there is none.
Tensor or_none(const Optional& tensor) { return tensor.value_or(Tensor()); }

// In the dtype that sums are made in: float for half, bfloat16.
Tensor exact(const Tensor& tensor) { return tensor.to(at::toOpMathType(tensor.scalar_type())); }

std::vector<std::int64_t> all_but_channels(const Tensor& input) {
  std::vector<std::int64_t> dims{0};
  for (std::int64_t dim = kChannels + 1; dim < input.dim(); ++dim) {
    dims.push_back(dim);
  }
  return dims;
}

// A number for each channel, so that it spreads over an input.
Tensor spread(const Tensor& of_channels, const Tensor& input) {
  std::vector<std::int64_t> shape(static_cast<std::size_t>(input.dim()), 1);
  shape[kChannels] = -1;
  return of_channels.view(shape);
}

Two stats(const Tensor& input, double eps) {
  auto [variance, mean] =
      at::var_mean(exact(input), all_but_channels(input), /*unbiased=*/false, /*keepdim=*/false);
  return {std::move(mean), at::rsqrt(variance + eps)};
}

Tensor elemt(const Tensor& input, const Optional& weight, const Optional& bias, const Tensor& mean,
             const Tensor& invstd, double /*eps*/) {
  Tensor result = (exact(input) - spread(mean, input)) * spread(invstd, input);
  if (const Tensor factor = or_none(weight); factor.defined()) {
    result = result * spread(exact(factor), input);
  }
  if (const Tensor summand = or_none(bias); summand.defined()) {
    result = result + spread(exact(summand), input);
  }
  return result.to(input.scalar_type());
}

void follow(const Tensor& running, const Tensor& present, double momentum) {
  if (running.defined()) {
    running.copy_(exact(running) * (1 - momentum) + present * momentum);
  }
}

Two gather_stats_with_counts(const Tensor& /*input*/, const Tensor& mean, const Tensor& invstd,
                             const Optional& running_mean, const Optional& running_var,
                             double momentum, double eps, const Tensor& counts) {
  const Tensor weights = counts.to(mean.scalar_type()).unsqueeze(1);
  const Tensor count = weights.sum();
  const Tensor of_all = (mean * weights).sum(0) / count;
  const Tensor variances = invstd.pow(-2) - eps + (mean - of_all).square();
  const Tensor squares = (variances * weights).sum(0);
  follow(or_none(running_mean), of_all, momentum);
  follow(or_none(running_var), squares / (count - 1), momentum);
  return {of_all, at::rsqrt(squares / count + eps)};
}

Two gather_stats(const Tensor& input, const Tensor& mean, const Tensor& invstd,
                 const Optional& running_mean, const Optional& running_var, double momentum,
                 double eps, std::int64_t count) {
  const Tensor counts = at::full({mean.size(0)}, count, mean.options());
  return gather_stats_with_counts(input, mean, invstd, running_mean, running_var, momentum, eps,
                                  counts);
}

std::tuple<Tensor, Tensor, Tensor, Tensor> backward_reduce(const Tensor& grad_out,
                                                           const Tensor& input, const Tensor& mean,
                                                           const Tensor& invstd,
                                                           const Optional& weight, bool input_g,
                                                           bool weight_g, bool bias_g) {
  const Tensor gradient = exact(grad_out);
  const auto dims = all_but_channels(input);
  const Tensor sum_dy = gradient.sum(dims);
  const Tensor sum_dy_xmu = (gradient * (exact(input) - spread(mean, input))).sum(dims);
  const Tensor like = weight.value_or(sum_dy);
  const auto dtype = like.defined() ? like.scalar_type() : sum_dy.scalar_type();
  return {input_g ? sum_dy : Tensor(), input_g ? sum_dy_xmu : Tensor(),
          weight_g ? (sum_dy_xmu * invstd).to(dtype) : Tensor(),
          bias_g ? sum_dy.to(dtype, /*non_blocking=*/false, /*copy=*/true) : Tensor()};
}

Tensor backward_elemt(const Tensor& grad_out, const Tensor& input, const Tensor& mean,
                      const Tensor& invstd, const Optional& weight, const Tensor& sum_dy,
                      const Tensor& sum_dy_xmu, const Tensor& count) {
  const Tensor total = count.sum().to(sum_dy.scalar_type());
  const Tensor slope = sum_dy_xmu / total * invstd.square();
  const Tensor given = or_none(weight);
  const Tensor factor = given.defined() ? invstd * exact(given) : invstd;
  const Tensor centered = exact(grad_out) - spread(sum_dy / total, input) -
                          (exact(input) - spread(mean, input)) * spread(slope, input);
  return (centered * spread(factor, input)).to(input.scalar_type());
}

c10::RegistrationHandleRAII place(const std::string& name, c10::KernelFunction kernel) {
  return register_for_gpus({"aten::batch_norm_" + name, ""}, std::move(kernel));
}

std::vector<c10::RegistrationHandleRAII> register_kernels() {
  using c10::KernelFunction;
  std::vector<c10::RegistrationHandleRAII> registrations;
  registrations.push_back(place("stats", KernelFunction::makeFromUnboxedFunction(TORCH_FN(stats))));
  registrations.push_back(place("elemt", KernelFunction::makeFromUnboxedFunction(TORCH_FN(elemt))));
  registrations.push_back(
      place("gather_stats", KernelFunction::makeFromUnboxedFunction(TORCH_FN(gather_stats))));
  registrations.push_back(
      place("gather_stats_with_counts",
            KernelFunction::makeFromUnboxedFunction(TORCH_FN(gather_stats_with_counts))));
  registrations.push_back(
      place("backward_reduce", KernelFunction::makeFromUnboxedFunction(TORCH_FN(backward_reduce))));
  registrations.push_back(
      place("backward_elemt", KernelFunction::makeFromUnboxedFunction(TORCH_FN(backward_elemt))));
  return registrations;
}

}  // namespace

void place_sync_batch_norm() {
  static const auto* registrations =
      new std::vector(register_kernels());  // as long as the dispatcher
  static_cast<void>(registrations);
}

}  // namespace polyrank
