#include <ATen/Context.h>
#include <c10/util/Exception.h>
#include <polyrank/world/torch_settings.h>
#include <torch/csrc/autograd/anomaly_mode.h>

#include <array>
#include <optional>

namespace polyrank {

namespace {

using torch::autograd::AnomalyMode;

at::Context& context() { return at::globalContext(); }

struct Setting {
  const char* name;
  std::int64_t (*get)();
  void (*set)(std::int64_t value);
};

// A flag of at::Context with a getter and a setter of one argument.
template <auto kGet, auto kSet>
constexpr Setting flag(const char* name) {
  return {.name = name,
          .get = [] { return static_cast<std::int64_t>((context().*kGet)()); },
          .set = [](std::int64_t value) { (context().*kSet)(value != 0); }};
}

constexpr std::int64_t kUnset = -1;

std::int64_t sparse_invariants() {
  const std::optional<bool> checked = context().checkSparseTensorInvariants();
  return checked.has_value() ? static_cast<std::int64_t>(*checked) : kUnset;
}

void set_sparse_invariants(std::int64_t value) {
  context().setCheckSparseTensorInvariants(value == kUnset ? std::nullopt
                                                           : std::optional<bool>(value != 0));
}

// Bits: enabled, warns only.
std::int64_t deterministic_algorithms() {
  return (context().deterministicAlgorithms() ? 1 : 0) |
         (context().deterministicAlgorithmsWarnOnly() ? 2 : 0);
}

// Bits: enabled, checks for NaN.
std::int64_t anomaly_mode() {
  return (AnomalyMode::is_enabled() ? 1 : 0) | (AnomalyMode::should_check_nan() ? 2 : 0);
}

// PyTorch refuses to say it where precisions by backend contradict it.
std::int64_t matmul_precision() {
  try {
    return static_cast<std::int64_t>(context().float32MatmulPrecision());
  } catch (const c10::Error&) {
    return kUnset;
  }
}

void set_matmul_precision(std::int64_t value) {
  constexpr std::array<const char*, 3> kNames = {"highest", "high", "medium"};
  if (value != kUnset) {
    context().setFloat32MatmulPrecision(kNames.at(static_cast<std::size_t>(value)));
  }
}

template <at::Float32Backend kBackend, at::Float32Op kOp>
constexpr Setting precision(const char* name) {
  return {
      .name = name,
      .get = [] { return static_cast<std::int64_t>(context().float32Precision(kBackend, kOp)); },
      .set =
          [](std::int64_t value) {
            context().setFloat32Precision(kBackend, kOp, static_cast<at::Float32Precision>(value));
          }};
}

using at::Context;

// The matmul precision comes before the precisions by backend, of which its setter sets some.
const std::array kSettings = {
    flag<&Context::userEnabledCuDNN, &Context::setUserEnabledCuDNN>("UserEnabledCuDNN"),
    flag<&Context::userEnabledMkldnn, &Context::setUserEnabledMkldnn>("UserEnabledMkldnn"),
    flag<&Context::userEnabledNNPACK, &Context::setUserEnabledNNPACK>("UserEnabledNNPACK"),
    flag<&Context::benchmarkCuDNN, &Context::setBenchmarkCuDNN>("BenchmarkCuDNN"),
    flag<&Context::deterministicCuDNN, &Context::setDeterministicCuDNN>("DeterministicCuDNN"),
    flag<&Context::deterministicMkldnn, &Context::setDeterministicMkldnn>("DeterministicMkldnn"),
    flag<&Context::userEnabledFlashSDP, &Context::setSDPUseFlash>("SDPUseFlash"),
    flag<&Context::userEnabledMemEfficientSDP, &Context::setSDPUseMemEfficient>(
        "SDPUseMemEfficient"),
    flag<&Context::userEnabledMathSDP, &Context::setSDPUseMath>("SDPUseMath"),
    flag<&Context::userEnabledCuDNNSDP, &Context::setSDPUseCuDNN>("SDPUseCuDNN"),
    flag<&Context::userEnabledOverrideableSDP, &Context::setSDPUseOverrideable>(
        "SDPUseOverrideable"),
    flag<&Context::allowFP16BF16ReductionMathSDP, &Context::setAllowFP16BF16ReductionMathSDP>(
        "AllowFP16BF16ReductionMathSDP"),
    flag<&Context::allowFP16ReductionCPU, &Context::setAllowFP16ReductionCPU>(
        "AllowFP16ReductionCPU"),
    flag<&Context::deterministicFillUninitializedMemory,
         &Context::setDeterministicFillUninitializedMemory>("DeterministicFillUninitializedMemory"),
    flag<&Context::areVmapFallbackWarningsEnabled, &Context::setDisplayVmapFallbackWarnings>(
        "DisplayVmapFallbackWarnings"),
    Setting{.name = "DeterministicAlgorithms",
            .get = &deterministic_algorithms,
            .set =
                [](std::int64_t value) {
                  context().setDeterministicAlgorithms((value & 1) != 0, (value & 2) != 0);
                }},
    Setting{.name = "CheckSparseTensorInvariants",
            .get = &sparse_invariants,
            .set = &set_sparse_invariants},
    Setting{
        .name = "Float32MatmulPrecision", .get = &matmul_precision, .set = &set_matmul_precision},
    precision<at::Float32Backend::GENERIC, at::Float32Op::ALL>("Float32Precision"),
    precision<at::Float32Backend::CUDA, at::Float32Op::ALL>("Float32Precision of cuda"),
    precision<at::Float32Backend::CUDA, at::Float32Op::MATMUL>("Float32Precision of its matmul"),
    precision<at::Float32Backend::CUDA, at::Float32Op::CONV>("Float32Precision of its conv"),
    precision<at::Float32Backend::CUDA, at::Float32Op::RNN>("Float32Precision of its rnn"),
    precision<at::Float32Backend::MKLDNN, at::Float32Op::ALL>("Float32Precision of mkldnn"),
    precision<at::Float32Backend::MKLDNN, at::Float32Op::MATMUL>("Float32Precision of its matmul"),
    precision<at::Float32Backend::MKLDNN, at::Float32Op::CONV>("Float32Precision of its conv"),
    precision<at::Float32Backend::MKLDNN, at::Float32Op::RNN>("Float32Precision of its rnn"),
    Setting{.name = "WarnAlways",
            .get = [] { return static_cast<std::int64_t>(c10::WarningUtils::get_warnAlways()); },
            .set = [](std::int64_t value) { c10::WarningUtils::set_warnAlways(value != 0); }},
    Setting{.name = "AnomalyMode",
            .get = &anomaly_mode,
            .set =
                [](std::int64_t value) {
                  AnomalyMode::set_enabled((value & 1) != 0, (value & 2) != 0);
                }},
};

}  // namespace

TorchSettings TorchSettings::present() {
  TorchSettings settings;
  settings.values_.reserve(kSettings.size());
  for (const Setting& setting : kSettings) {
    settings.values_.push_back(setting.get());
  }
  return settings;
}

void TorchSettings::put(const TorchSettings& leaving) const {
  if (*this == leaving) {
    return;
  }
  for (std::size_t i = 0; i < kSettings.size(); ++i) {
    if (kSettings[i].get() != values_[i]) {
      kSettings[i].set(values_[i]);
    }
  }
}

}  // namespace polyrank
