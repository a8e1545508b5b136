#include <c10/core/ScalarType.h>
#include <c10/core/StorageImpl.h>
#include <c10/util/intrusive_ptr.h>
#include <polyrank/core/interned.h>
#include <polyrank/engine/local_tensor_impl.h>
#include <polyrank/exchange/launch_details.h>
#include <polyrank/exchange/rank_operand.h>
#include <polyrank/report/collective_record.h>

#include <array>
#include <atomic>
#include <mutex>
#include <unordered_map>
#include <utility>

namespace polyrank {

namespace {

constexpr std::size_t kNumDtypes = static_cast<std::size_t>(at::ScalarType::NumOptions);

// Bytes of one rank's part of a tensor whose shape is not one of plain ints.
std::int64_t bytes_of_irregular(const at::Tensor& tensor) {
  if (LocalTensorImpl::from(tensor) == nullptr) {
    return 0;
  }
  return RankOperand(tensor, ranks_of_launch({tensor})).largest_nbytes();
}

TensorRun run_of(const at::Tensor& tensor) {
  TensorRun run{.dtype = dtype_name(tensor.scalar_type()), .shape = {}};
  std::int64_t numel = 1;
  bool is_regular = true;
  for (const c10::SymInt& size : tensor.sym_sizes()) {
    const auto known = size.maybe_as_int();
    run.shape.push_back(known.value_or(TensorRun::kDiffers));
    numel *= known.value_or(1);
    is_regular = is_regular && known.has_value();
  }
  run.nbytes = is_regular ? numel * static_cast<std::int64_t>(tensor.itemsize())
                          : bytes_of_irregular(tensor);
  return run;
}

bool continues(const TensorRun& run, const TensorRun& next) {
  return run.dtype == next.dtype && run.shape == next.shape;
}

// One number if all agree.
template <class Numbers>
std::int64_t common(const Numbers& numbers) {
  std::int64_t value = CollectiveLaunch::kNone;
  for (const auto& number : numbers) {
    const std::int64_t known =
        c10::SymInt(number).maybe_as_int().value_or(CollectiveLaunch::kDiffers);
    value = value == CollectiveLaunch::kNone || value == known ? known : CollectiveLaunch::kDiffers;
  }
  return value;
}

void add_messages(const CollectiveCall& call, CollectiveLaunch* launch) {
  std::vector<at::Tensor> sent;
  std::vector<at::Tensor> received;
  for (std::size_t i = 0; i < call.units.size(); ++i) {
    (call.is_send[i] ? sent : received).push_back(call.units[i].inputs.front());
  }
  launch->root = common(call.peers);
  launch->tag = call.tags.empty() ? 0 : call.tags.front();
  launch->inputs = tensor_runs(sent);
  launch->outputs = tensor_runs(received);
}

void add_tensors(const CollectiveCall& call, at::ArrayRef<at::Tensor> results,
                 CollectiveLaunch* launch) {
  std::vector<at::Tensor> inputs;
  for (const CollectiveUnit& unit : call.units) {
    inputs.insert(inputs.end(), unit.inputs.begin(), unit.inputs.end());
  }
  launch->inputs = tensor_runs(inputs);
  switch (call.spec->destination) {
    case Destination::kNowhere:
      break;
    case Destination::kInputs:
      launch->outputs = launch->inputs;
      break;
    case Destination::kOutputs:
      launch->outputs = tensor_runs(call.written());
      break;
    case Destination::kResults:
      launch->outputs = tensor_runs(results);
      break;
  }
}

// Storages of results that nobody has waited for, and the launches that they are of.
class AwaitedStorages {
 public:
  void add(const c10::Storage& storage, LaunchId launch) {
    const std::lock_guard lock(mutex_);
    if (launches_.size() >= prune_at_) {
      std::erase_if(launches_, [](const auto& entry) { return entry.second.storage.expired(); });
      prune_at_ = 2 * launches_.size() + kFewest;
    }
    const c10::StorageImpl* impl = storage.unsafeGetStorageImpl();
    launches_.insert_or_assign(impl, Entry{storage.getWeakStorageImpl(), launch});
    is_empty_.store(false, std::memory_order_relaxed);
  }

  LaunchId take(const c10::Storage& storage) {
    if (is_empty_.load(std::memory_order_relaxed)) {
      return kNotTraced;
    }
    const std::lock_guard lock(mutex_);
    const auto found = launches_.find(storage.unsafeGetStorageImpl());
    // The address may be another storage's by now: then the old one is gone.
    if (found == launches_.end() || found->second.storage.expired()) {
      return kNotTraced;
    }
    const LaunchId launch = found->second.launch;
    launches_.erase(found);
    is_empty_.store(launches_.empty(), std::memory_order_relaxed);
    return launch;
  }

 private:
  static constexpr std::size_t kFewest = 256;
  struct Entry {
    c10::weak_intrusive_ptr<c10::StorageImpl> storage;
    LaunchId launch;
  };

  std::mutex mutex_;
  std::unordered_map<const c10::StorageImpl*, Entry> launches_;
  std::size_t prune_at_ = kFewest;
  std::atomic<bool> is_empty_{true};
};

AwaitedStorages& awaited_storages() {
  static auto* const storages = new AwaitedStorages();  // storages may outlive static objects
  return *storages;
}

}  // namespace

std::string_view dtype_name(at::ScalarType dtype) {
  thread_local std::array<std::string_view, kNumDtypes> names;
  std::string_view& name = names[static_cast<std::size_t>(dtype)];
  if (name.empty()) {
    name = interned(c10::getDtypeNames(dtype).first);
  }
  return name;
}

std::vector<TensorRun> tensor_runs(at::ArrayRef<at::Tensor> tensors) {
  std::vector<TensorRun> runs;
  for (const at::Tensor& tensor : tensors) {
    TensorRun next = run_of(tensor);
    if (!runs.empty() && continues(runs.back(), next)) {
      runs.back().count += 1;
      runs.back().nbytes += next.nbytes;
    } else {
      runs.push_back(std::move(next));
    }
  }
  return runs;
}

std::vector<at::Tensor> tensors_among(c10::ArrayRef<c10::IValue> results) {
  std::vector<at::Tensor> tensors;
  for (const c10::IValue& value : results) {
    if (value.isTensor()) {
      tensors.push_back(value.toTensor());
    } else if (value.isTensorList()) {
      for (const at::Tensor& tensor : value.toTensorVector()) {
        tensors.push_back(tensor);
      }
    }
  }
  return tensors;
}

void add_details(const CollectiveCall& call, at::ArrayRef<at::Tensor> results,
                 CollectiveLaunch* launch) {
  const CollectiveSpec& spec = *call.spec;
  launch->op_name = spec.op_name;
  launch->is_async = call.is_async;
  if (is_reduction(spec.kind)) {
    launch->reduce_op = call.reduce_op;
  }
  if (has_root(spec.kind)) {
    launch->root = call.root;
  }
  if (call.is_send.empty()) {
    add_tensors(call, results, launch);
  } else {
    add_messages(call, launch);
  }
}

void expect_tensor_waits(at::ArrayRef<at::Tensor> results, LaunchId launch) {
  if (launch == kNotTraced) {
    return;
  }
  for (const at::Tensor& result : results) {
    if (result.has_storage()) {
      awaited_storages().add(result.storage(), launch);
    }
  }
}

void note_tensor_wait(const at::Tensor& tensor) {
  if (tensor.has_storage()) {
    collective_record().waited(awaited_storages().take(tensor.storage()));
  }
}

}  // namespace polyrank
