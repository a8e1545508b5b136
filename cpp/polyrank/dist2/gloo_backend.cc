#ifndef USE_C10D_GLOO
#define USE_C10D_GLOO  // as the libtorch that we link was built; its header is empty without it
#endif

#include <ATen/Context.h>
#include <polyrank/core/errors.h>
#include <polyrank/core/str_cat.h>
#include <polyrank/dist2/gloo_backend.h>
#include <polyrank/dist2/watched_group.h>
#include <polyrank/dist2/world_backends.h>
#include <polyrank/exchange/host_memory.h>

#include <memory>
#include <torch/csrc/distributed/c10d/ProcessGroupGloo.hpp>
#include <utility>

namespace polyrank::dist2 {

namespace {

c10::intrusive_ptr<c10d::Backend::Options> copy_options(const c10d::Backend::Options& options) {
  using GlooOptions = c10d::ProcessGroupGloo::Options;
  return c10::make_intrusive<GlooOptions>(dynamic_cast<const GlooOptions&>(options));
}

}  // namespace

ProcessGroup make_gloo_group(const GroupRequest& request) {
  if (!request.options.empty()) {
    throw UsageError(str_cat("Gloo backend received unexpected kwargs: it has no options; given: ",
                             request.options.begin()->first));
  }
  if (const ProcessGroup group = group_of_world(request)) {
    return group;
  }
  const std::string name = next_group_name();
  const Store store = own_keys(request.store, request.rank, request.world_size);
  auto addresses = roll_call(store, request.rank, request.world_size, request.timeout);
  const auto options = c10d::ProcessGroupGloo::Options::create_default(request.timeout);
  // Without these, splitting any but the first group of a process reads past the end of a list.
  options->global_ranks_in_group = first_ranks(request.world_size);
  auto backend =
      c10::make_intrusive<c10d::ProcessGroupGloo>(store, request.rank, request.world_size, options);
  backend->setSequenceNumberForGroup();
  auto group = c10::make_intrusive<WatchedGroup>(
      request.world_size,
      std::make_shared<const Members>(name, store, request.rank, std::move(addresses),
                                      request.timeout),
      &copy_options);
  constexpr auto kType = c10d::ProcessGroup::BackendType::GLOO;
  group->setDefaultBackend(kType);
  group->setBackend(request.device.type(), kType, backend);
  group->setBackend(c10::kCPU, kType, backend);
  if (at::hasCUDA() && !cuda_is_in_host_memory()) {
    group->setBackend(c10::kCUDA, kType, backend);
  }
  group->setGroupName(name);
  group->setGroupDesc(name);  // what a trace calls it
  return group;
}

}  // namespace polyrank::dist2
