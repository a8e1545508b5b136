#include <ATen/Functions.h>
#include <polyrank/core/errors.h>
#include <polyrank/core/str_cat.h>
#include <polyrank/engine/interpreter_hooks.h>
#include <polyrank/exchange/exchange.h>
#include <polyrank/exchange/forwarded_work.h>
#include <polyrank/exchange/host_backend.h>
#include <polyrank/exchange/host_memory.h>

#include <mutex>
#include <utility>

namespace polyrank {

namespace {

using Tensors = HostBackend::Tensors;
using Work = HostBackend::Work;

Tensors on_host(const Tensors& tensors) {
  Tensors host;
  host.reserve(tensors.size());
  for (const at::Tensor& tensor : tensors) {
    host.push_back(in_host_memory(tensor));
  }
  return host;
}

std::vector<Tensors> on_host(const std::vector<Tensors>& lists) {
  std::vector<Tensors> host;
  host.reserve(lists.size());
  for (const Tensors& tensors : lists) {
    host.push_back(on_host(tensors));
  }
  return host;
}

// Without a shape, in which gloo would compare the pieces of the one tensor with each rank's. What
// is not contiguous is left for it to refuse.
at::Tensor flat_on_host(const at::Tensor& tensor) {
  at::Tensor host = in_host_memory(tensor);
  return host.is_contiguous() ? host.view({-1}) : host;
}

Tensors flat_on_host(const Tensors& tensors) {
  Tensors host;
  host.reserve(tensors.size());
  for (const at::Tensor& tensor : tensors) {
    host.push_back(flat_on_host(tensor));
  }
  return host;
}

at::Tensor multiplied(const at::Tensor& input, const c10d::ReduceOp& op) {
  const auto& factor = dynamic_cast<const c10d::PreMulSumSupplement&>(*op.supplement_);
  return factor.tensor_factor.defined()
             ? at::mul(input, in_host_memory(factor.tensor_factor).reshape({}).to(input.dtype()))
             : at::mul(input, factor.double_factor).to(input.dtype());
}

void divide(const Tensors& totals, int size) {
  for (const at::Tensor& total : totals) {
    if (at::isIntegralType(total.scalar_type(), /*includeBool=*/false)) {
      at::Tensor(total).div_(size, "trunc");
    } else {
      at::Tensor(total).div_(size);
    }
  }
}

// What a launch writes: as it was given, and what of it is to be divided at the end.
struct Written {
  Tensors given;
  Tensors averages = {};  // in host memory
  int size = 1;           // to divide by
};

class HostWork final : public ForwardedWork {
 public:
  HostWork(HostBackend::Work work, Written written, int group_rank)
      : ForwardedWork(std::move(work), group_rank), written_(std::move(written)) {}

  // The inner Work is waited for once: gloo's may write its results each time.
  bool wait(std::chrono::milliseconds timeout) override {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (!is_done_) {
      ForwardedWork::wait(timeout);
      divide(written_.averages, written_.size);
      is_done_ = true;
    }
    return true;
  }
  bool isCompleted() override { return other()->isCompleted() && wait(kNoTimeout); }
  void synchronize() override { wait(kNoTimeout); }
  std::vector<at::Tensor> result() override { return written_.given; }
  // With averages complete when it is returned: gloo completes a future before its Work, so that
  // who is told by the future can't wait for the Work.
  c10::intrusive_ptr<c10::ivalue::Future> getFuture() override {
    const auto type = c10::ListType::create(c10::TensorType::get());
    if (!written_.averages.empty()) {
      wait(kNoTimeout);
      auto done = c10::make_intrusive<c10::ivalue::Future>(type);
      done->markCompleted(c10::IValue(written_.given));
      return done;
    }
    return other()->getFuture()->then(
        [given = written_.given](c10::ivalue::Future& inner) -> c10::IValue {
          inner.value();  // throws what the inner Work failed with
          return given;
        },
        type);
  }

 private:
  std::mutex mutex_;
  bool is_done_ = false;  // guarded by mutex_
  Written written_;
};

Tensors flat(const std::vector<Tensors>& lists) {
  Tensors tensors;
  for (const Tensors& list : lists) {
    tensors.insert(tensors.end(), list.begin(), list.end());
  }
  return tensors;
}

// A reduction by what the inner backend has: `launch` is given what to sum, and options for that.
// `outputs` is what the result is written to on this rank, in host memory.
template <class Options, class Launch>
Work launch_reduction(const Options& options, const Tensors& inputs, const Tensors& outputs,
                      Written* written, const Launch& launch) {
  if (options.reduceOp == c10d::ReduceOp::AVG) {
    Options of_sum = options;
    of_sum.reduceOp = c10d::ReduceOp::SUM;
    written->averages = outputs;
    return launch(inputs, of_sum);
  }
  if (options.reduceOp == c10d::ReduceOp::PREMUL_SUM) {
    Options of_sum = options;
    of_sum.reduceOp = c10d::ReduceOp::SUM;
    Tensors scaled;
    for (const at::Tensor& input : inputs) {
      scaled.push_back(multiplied(input, options.reduceOp));
    }
    return launch(std::move(scaled), of_sum);
  }
  return launch(inputs, options);
}

// The same, of an operation whose inputs are its outputs.
template <class Options, class Launch>
Work launch_in_place(const Options& options, const Tensors& tensors, bool is_written,
                     Written* written, const Launch& launch) {
  return launch_reduction(options, tensors, is_written ? tensors : Tensors{}, written,
                          [&](const Tensors& inputs, const Options& of_sum) {
                            for (std::size_t i = 0; i < tensors.size(); ++i) {
                              if (!inputs[i].is_same(tensors[i])) {
                                at::Tensor(tensors[i]).copy_(inputs[i]);
                              }
                            }
                            return launch(of_sum);
                          });
}

Work made(int group_rank, Work inner, Written written) {
  return c10::make_intrusive<HostWork>(std::move(inner), std::move(written), group_rank);
}

}  // namespace

HostBackend::HostBackend(c10::intrusive_ptr<c10d::Backend> inner,
                         c10::intrusive_ptr<Options> options)
    : c10d::Backend(inner->getRank(), inner->getSize()),
      inner_(std::move(inner)),
      options_(std::move(options)) {}

void HostBackend::setTimeout(std::chrono::milliseconds timeout) {
  inner_->setTimeout(timeout);
  options_->timeout = timeout;
}

Work HostBackend::broadcast(Tensors& tensors, const c10d::BroadcastOptions& options) {
  Tensors host = on_host(tensors);
  return made(getRank(), inner_->broadcast(host, options), {.given = tensors});
}

Work HostBackend::allreduce(Tensors& tensors, const c10d::AllreduceOptions& options) {
  Tensors host = on_host(tensors);
  Written written{.given = tensors, .size = getSize()};
  Work work = launch_in_place(options, host, /*is_written=*/true, &written,
                              [&](const auto& of_sum) { return inner_->allreduce(host, of_sum); });
  return made(getRank(), std::move(work), std::move(written));
}

Work HostBackend::allreduce_coalesced(Tensors& tensors,
                                      const c10d::AllreduceCoalescedOptions& options) {
  Tensors host = on_host(tensors);
  Written written{.given = tensors, .size = getSize()};
  Work work = launch_in_place(
      options, host, /*is_written=*/true, &written,
      [&](const auto& of_sum) { return inner_->allreduce_coalesced(host, of_sum); });
  return made(getRank(), std::move(work), std::move(written));
}

Work HostBackend::reduce(Tensors& tensors, const c10d::ReduceOptions& options) {
  Tensors host = on_host(tensors);
  Written written{.given = tensors, .size = getSize()};
  Work work = launch_in_place(options, host, options.rootRank == getRank(), &written,
                              [&](const auto& of_sum) { return inner_->reduce(host, of_sum); });
  return made(getRank(), std::move(work), std::move(written));
}

Work HostBackend::allgather(std::vector<Tensors>& outputs, Tensors& inputs,
                            const c10d::AllgatherOptions& options) {
  std::vector<Tensors> host_outputs = on_host(outputs);
  Tensors host_inputs = on_host(inputs);
  return made(getRank(), inner_->allgather(host_outputs, host_inputs, options),
              {.given = flat(outputs)});
}

Work HostBackend::_allgather_base(at::Tensor& output, at::Tensor& input,
                                  const c10d::AllgatherOptions& options) {
  at::Tensor host_output = flat_on_host(output);
  at::Tensor host_input = flat_on_host(input);
  return made(getRank(), inner_->_allgather_base(host_output, host_input, options),
              {.given = {output}});
}

Work HostBackend::allgather_coalesced(std::vector<Tensors>& outputs, Tensors& inputs,
                                      const c10d::AllgatherOptions& options) {
  std::vector<Tensors> host_outputs = on_host(outputs);
  Tensors host_inputs = on_host(inputs);
  return made(getRank(), inner_->allgather_coalesced(host_outputs, host_inputs, options),
              {.given = flat(outputs)});
}

Work HostBackend::allgather_into_tensor_coalesced(Tensors& outputs, Tensors& inputs,
                                                  const c10d::AllgatherOptions& options) {
  Tensors host_outputs = flat_on_host(outputs);
  Tensors host_inputs = flat_on_host(inputs);
  return made(getRank(),
              inner_->allgather_into_tensor_coalesced(host_outputs, host_inputs, options),
              {.given = outputs});
}

Work HostBackend::gather(std::vector<Tensors>& outputs, Tensors& inputs,
                         const c10d::GatherOptions& options) {
  std::vector<Tensors> host_outputs = on_host(outputs);
  Tensors host_inputs = on_host(inputs);
  return made(getRank(), inner_->gather(host_outputs, host_inputs, options),
              {.given = flat(outputs)});
}

Work HostBackend::gather_single(at::Tensor& output, at::Tensor& input,
                                const c10d::GatherOptions& options) {
  if (getRank() != options.rootRank) {
    std::vector<Tensors> none;
    Tensors inputs{input};
    return gather(none, inputs, options);
  }
  if (output.numel() != input.numel() * getSize()) {
    raise(CollectiveError(str_cat("gather: the root was given ", describe_tensor(output),
                                  " to hold the ", describe_tensor(input), " of each of ",
                                  getSize(), " ranks.")));
  }
  std::vector<std::int64_t> stacked = input.sizes().vec();
  stacked.insert(stacked.begin(), getSize());
  std::vector<Tensors> pieces{output.view(stacked).unbind()};
  Tensors inputs{input};
  return gather(pieces, inputs, options);
}

Work HostBackend::scatter(Tensors& outputs, std::vector<Tensors>& inputs,
                          const c10d::ScatterOptions& options) {
  Tensors host_outputs = on_host(outputs);
  std::vector<Tensors> host_inputs = on_host(inputs);
  return made(getRank(), inner_->scatter(host_outputs, host_inputs, options), {.given = outputs});
}

Work HostBackend::reduce_scatter(Tensors& outputs, std::vector<Tensors>& inputs,
                                 const c10d::ReduceScatterOptions& options) {
  Tensors host_outputs = on_host(outputs);
  const Tensors host_inputs = on_host(inputs.at(0));
  Written written{.given = outputs, .size = getSize()};
  Work work = launch_reduction(options, host_inputs, host_outputs, &written,
                               [&](Tensors given, const auto& of_sum) {
                                 std::vector<Tensors> lists{std::move(given)};
                                 return inner_->reduce_scatter(host_outputs, lists, of_sum);
                               });
  return made(getRank(), std::move(work), std::move(written));
}

Work HostBackend::_reduce_scatter_base(at::Tensor& output, at::Tensor& input,
                                       const c10d::ReduceScatterOptions& options) {
  at::Tensor host_output = flat_on_host(output);
  Written written{.given = {output}, .size = getSize()};
  Work work = launch_reduction(options, {flat_on_host(input)}, {host_output}, &written,
                               [&](Tensors given, const auto& of_sum) {
                                 return inner_->_reduce_scatter_base(host_output, given[0], of_sum);
                               });
  return made(getRank(), std::move(work), std::move(written));
}

Work HostBackend::reduce_scatter_tensor_coalesced(Tensors& outputs, Tensors& inputs,
                                                  const c10d::ReduceScatterOptions& options) {
  Tensors host_outputs = flat_on_host(outputs);
  Written written{.given = outputs, .size = getSize()};
  Work work = launch_reduction(options, flat_on_host(inputs), host_outputs, &written,
                               [&](Tensors given, const auto& of_sum) {
                                 return inner_->reduce_scatter_tensor_coalesced(host_outputs, given,
                                                                                of_sum);
                               });
  return made(getRank(), std::move(work), std::move(written));
}

Work HostBackend::alltoall_base(at::Tensor& output, at::Tensor& input,
                                std::vector<std::int64_t>& output_sizes,
                                std::vector<std::int64_t>& input_sizes,
                                const c10d::AllToAllOptions& options) {
  at::Tensor host_output = in_host_memory(output);
  at::Tensor host_input = in_host_memory(input);
  return made(getRank(),
              inner_->alltoall_base(host_output, host_input, output_sizes, input_sizes, options),
              {.given = {output}});
}

Work HostBackend::alltoall(Tensors& outputs, Tensors& inputs,
                           const c10d::AllToAllOptions& options) {
  Tensors host_outputs = on_host(outputs);
  Tensors host_inputs = on_host(inputs);
  return made(getRank(), inner_->alltoall(host_outputs, host_inputs, options), {.given = outputs});
}

Work HostBackend::send(Tensors& tensors, int peer, int tag) {
  Tensors host = on_host(tensors);
  return made(getRank(), inner_->send(host, peer, tag), {});
}

Work HostBackend::recv(Tensors& tensors, int peer, int tag) {
  Tensors host = on_host(tensors);
  return made(getRank(), inner_->recv(host, peer, tag), {.given = tensors});
}

Work HostBackend::recvAnysource(Tensors& tensors, int tag) {
  Tensors host = on_host(tensors);
  return made(getRank(), inner_->recvAnysource(host, tag), {.given = tensors});
}

Work HostBackend::barrier(const c10d::BarrierOptions& options) {
  c10d::BarrierOptions without_devices = options;
  without_devices.device_ids.clear();
  without_devices.device.reset();
  return inner_->barrier(without_devices);
}

void HostBackend::monitoredBarrier(const c10d::BarrierOptions& options, bool wait_all_ranks) {
  inner_->monitoredBarrier(options, wait_all_ranks);
}

}  // namespace polyrank
