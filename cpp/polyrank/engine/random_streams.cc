#include <ATen/Context.h>
#include <polyrank/core/errors.h>
#include <polyrank/core/str_cat.h>
#include <polyrank/engine/random_streams.h>

namespace polyrank {

namespace {

// The device whose random stream an operator draws from.
c10::Device random_device(const Operands& operands, c10::ArrayRef<c10::IValue> arguments) {
  if (!operands.locals().empty()) {
    return operands.locals().front().impl->device();
  }
  if (!operands.plain().empty()) {
    return operands.plain().front().device();
  }
  for (const c10::IValue& argument : arguments) {
    if (argument.isDevice()) {
      return argument.toDevice();
    }
  }
  return c10::kCPU;
}

}  // namespace

RandomStreams::RandomStreams(const OperatorInfo& info, LockstepMode* mode, const Operands& operands,
                             c10::ArrayRef<c10::IValue> arguments, const RankSet& ranks) {
  if (!info.is_random) {
    return;
  }
  c10::Device device = random_device(operands, arguments);
  if (device.is_meta() || operands.has_python_tensors()) {
    return;  // no values, no draws; and some kernels that only give shapes take no generator
  }
  turn_.emplace();
  if (!device.has_index() && !device.is_cpu()) {
    device = at::globalContext().defaultGenerator(device).device();
  }
  default_ = at::globalContext().defaultGenerator(device);
  if (info.generator_argument >= 0) {
    argument_ = static_cast<std::size_t>(info.generator_argument);
    const c10::IValue& given = arguments[*argument_];
    if (!given.isNone() && given.toGenerator() != default_) {
      given_ = given.toGenerator();
    }
  }
  if (mode != nullptr && !given_.defined() && mode->ranks() == ranks) {
    streams_ = &mode->generators(device);
  } else {  // a generator of the program's own, or no mode: the same state on all ranks
    own_.emplace(ranks, given_.defined() ? given_ : default_);
    streams_ = &*own_;
  }
}

void RandomStreams::begin(const RankPartition& partition) {
  if (is_active()) {
    drawn_ = streams_->draw(partition);
    if (!argument_) {
      saved_ = default_.clone();
    }
  }
}

void RandomStreams::before_call(std::int32_t cohort, torch::jit::Stack* stack) {
  if (!is_active()) {
    return;
  }
  const at::Generator& generator = drawn_[static_cast<std::size_t>(cohort)];
  if (argument_) {
    (*stack)[*argument_] = generator;
  } else {
    copy_generator_state(generator, default_);
  }
}

void RandomStreams::after_call(std::int32_t cohort) {
  if (is_active() && !argument_) {
    copy_generator_state(default_, drawn_[static_cast<std::size_t>(cohort)]);
  }
}

void RandomStreams::finish(const c10::OperatorHandle& op, const RankPartition& partition) {
  if (!is_active()) {
    return;
  }
  streams_->update(partition, drawn_);
  restore_default();
  if (!own_) {
    return;
  }
  if (given_.defined() && !own_->partition().is_uniform()) {
    throw DivergenceError(str_cat(
        c10::toString(op.operator_name()),
        " drew different amounts from one generator on different ranks. A generator of your own "
        "has one state for all ranks; use the default generator, whose state each rank has."));
  }
  at::Generator& target = given_.defined() ? given_ : default_;
  copy_generator_state(own_->generator(0), target);
}

void RandomStreams::restore_default() {
  if (saved_.defined()) {
    copy_generator_state(saved_, default_);
    saved_ = at::Generator();
  }
}

}  // namespace polyrank
