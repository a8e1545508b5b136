// examples/train_digits.py on 64 ranks in C++ alone: the same model, initial weights and batches.
//
//   train_digits digits.bin [EPOCHS [LOSSES]]
//
// digits.bin comes from write_digits.py. The loss of each step goes to the file LOSSES.
#include <polyrank/polyrank.h>
#include <torch/torch.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <fstream>
#include <iterator>
#include <numeric>
#include <string>
#include <utility>
#include <vector>

namespace {

using polyrank::ProcessGroup;
using torch::Tensor;
using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

constexpr std::int64_t kDataRanks = 16;
constexpr std::int64_t kTensorRanks = 4;
constexpr std::int64_t kPixels = 64;
constexpr std::int64_t kClasses = 10;
constexpr std::int64_t kHidden = 256;
constexpr std::int64_t kBatchSize = 128;
constexpr std::int64_t kTestSamples = 384;

// All ranks of the group get the same input; its gradient is the sum of theirs.
struct EnterTensorParallel : torch::autograd::Function<EnterTensorParallel> {
  static Tensor forward(AutogradContext* context, const Tensor& x, const ProcessGroup& group) {
    context->saved_data["group"] = group;
    return x.view_as(x);
  }
  static variable_list backward(AutogradContext* context, const variable_list& grads) {
    const Tensor grad = grads[0].clone(torch::MemoryFormat::Contiguous);
    const auto group = context->saved_data["group"].toCustomClass<c10d::ProcessGroup>();
    polyrank::all_reduce(grad, {.group = group});
    return {grad, Tensor()};
  }
};

// Each rank of the group has a summand; the gradient of the sum goes to all of them.
struct LeaveTensorParallel : torch::autograd::Function<LeaveTensorParallel> {
  static Tensor forward(AutogradContext* /*context*/, const Tensor& x, const ProcessGroup& group) {
    Tensor total = x.clone(torch::MemoryFormat::Contiguous);
    polyrank::all_reduce(total, {.group = group});
    return total;
  }
  static variable_list backward(AutogradContext* /*context*/, const variable_list& grads) {
    return {grads[0], Tensor()};
  }
};

// This rank's piece of a dimension that the group shares out in equal pieces.
Tensor slice_of(const Tensor& whole, std::int64_t dim, const ProcessGroup& group) {
  const std::int64_t piece = whole.size(dim) / polyrank::get_world_size(group);
  const c10::SymInt start = polyrank::get_rank(group) * piece;
  return at::slice_symint(whole, dim, start, start + piece);
}

// Linear, ReLU, linear; the hidden features are spread over the ranks of `group`.
class TensorParallelBlock {
 public:
  TensorParallelBlock(std::int64_t in_features, std::int64_t out_features, ProcessGroup group)
      : group_(std::move(group)) {
    // Every rank draws the whole weights, so that they depend on the seed alone.
    const torch::nn::Linear up(in_features, kHidden);
    const torch::nn::Linear down(kHidden, out_features);
    parameters_ = {slice_of(up->weight.detach(), 0, group_).clone(),
                   slice_of(up->bias.detach(), 0, group_).clone(),
                   slice_of(down->weight.detach(), 1, group_).contiguous(),
                   down->bias.detach().clone()};
    for (Tensor& parameter : parameters_) {
      parameter.requires_grad_();
    }
  }

  Tensor forward(const Tensor& input) const {
    const Tensor x = EnterTensorParallel::apply(input, group_);
    const Tensor hidden = torch::relu(torch::linear(x, parameters_[0], parameters_[1]));
    const Tensor partial_sum = torch::linear(hidden, parameters_[2]);
    return LeaveTensorParallel::apply(partial_sum, group_) + parameters_[3];
  }

  const std::vector<Tensor>& parameters() const { return parameters_; }

 private:
  ProcessGroup group_;
  std::vector<Tensor> parameters_;
};

struct Model {
  TensorParallelBlock first;
  TensorParallelBlock second;

  Tensor forward(const Tensor& x) const { return second.forward(torch::relu(first.forward(x))); }

  std::vector<Tensor> parameters() const {
    std::vector<Tensor> all = first.parameters();
    all.insert(all.end(), second.parameters().begin(), second.parameters().end());
    return all;
  }
};

struct Samples {
  Tensor images;
  Tensor labels;
};

Samples load_samples(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::vector<char> bytes{std::istreambuf_iterator<char>(file), {}};
  const auto num_samples = static_cast<std::int64_t>(bytes.size()) / (kPixels + 1);
  if (num_samples <= kTestSamples) {
    throw polyrank::UsageError(path + " holds no digits; write it with write_digits.py.");
  }
  const Tensor rows =
      torch::from_blob(bytes.data(), {num_samples, kPixels + 1}, torch::kUInt8).clone();
  return {rows.narrow(1, 0, kPixels).to(torch::kFloat32) / 16.0,
          rows.select(1, kPixels).to(torch::kInt64)};
}

Samples pick(const Samples& samples, const Tensor& indices) {
  return {samples.images.index({indices}), samples.labels.index({indices})};
}

// Replaces each gradient by its mean over `group`, with one all-reduce for all of them.
void average_gradients(const std::vector<Tensor>& parameters, const ProcessGroup& group) {
  std::vector<Tensor> flat;
  std::vector<std::int64_t> sizes;
  for (const Tensor& parameter : parameters) {
    flat.push_back(parameter.grad().flatten());
    sizes.push_back(parameter.numel());
  }
  Tensor bucket = torch::cat(flat);
  polyrank::all_reduce(bucket, {.group = group});
  bucket /= polyrank::get_world_size(group);
  const std::vector<Tensor> means = bucket.split_with_sizes(sizes);
  for (std::size_t i = 0; i < means.size(); ++i) {
    parameters[i].grad().copy_(means[i].view_as(parameters[i]));
  }
}

double mean_over(const Tensor& value, const ProcessGroup& group) {
  const Tensor total = value.detach().clone();
  polyrank::all_reduce(total, {.group = group});
  return total.item<double>() / static_cast<double>(polyrank::get_world_size(group));
}

// The loss of each step, averaged over the whole batch.
std::vector<double> train_epoch(const Model& model, torch::optim::SGD& optimizer,
                                const Samples& samples, const ProcessGroup& data_group) {
  std::vector<double> losses;
  const Tensor order = torch::randperm(samples.labels.size(0), torch::kInt64);
  const std::vector<Tensor> batches = order.split(kBatchSize);
  const std::size_t num_full = static_cast<std::size_t>(samples.labels.size(0) / kBatchSize);
  for (std::size_t step = 0; step < num_full; ++step) {
    const Samples mine = pick(samples, slice_of(batches[step], 0, data_group));
    const Tensor loss = torch::cross_entropy_loss(model.forward(mine.images), mine.labels);
    optimizer.zero_grad();
    loss.backward();
    average_gradients(model.parameters(), data_group);
    optimizer.step();
    losses.push_back(mean_over(loss, data_group));
  }
  return losses;
}

// The fraction that the model gets right; each data parallel rank classifies its share.
double accuracy(const Model& model, const Samples& samples, const ProcessGroup& data_group) {
  const torch::NoGradGuard no_grad;
  const Tensor my_answers = model.forward(slice_of(samples.images, 0, data_group)).argmax(1);
  const Tensor answers = torch::empty_like(samples.labels);
  polyrank::all_gather_single(answers, my_answers, data_group);
  const auto num_right = (answers == samples.labels).sum().item<std::int64_t>();
  return static_cast<double>(num_right) / static_cast<double>(samples.labels.size(0));
}

void train(const std::string& path, int epochs, const std::string& losses_path) {
  torch::manual_seed(0);
  polyrank::LockstepWorld world(kDataRanks * kTensorRanks);
  polyrank::DeviceMesh mesh(world, {{"dp", kDataRanks}, {"tp", kTensorRanks}});
  const ProcessGroup& data_group = mesh.get_group("dp");
  const ProcessGroup& tensor_group = mesh.get_group("tp");
  const Samples all = load_samples(path);
  const Tensor shuffled = torch::randperm(all.labels.size(0), torch::kInt64);
  const Samples test_samples = pick(all, shuffled.slice(0, 0, kTestSamples));
  const Samples train_samples = pick(all, shuffled.slice(0, kTestSamples));
  // One after the other: they draw their weights from one stream.
  TensorParallelBlock first(kPixels, kHidden, tensor_group);
  TensorParallelBlock second(kHidden, kClasses, tensor_group);
  const Model model{std::move(first), std::move(second)};
  torch::optim::SGD optimizer(model.parameters(), torch::optim::SGDOptions(0.1).momentum(0.9));

  std::vector<double> losses;
  for (int epoch = 1; epoch <= epochs; ++epoch) {
    const std::vector<double> steps = train_epoch(model, optimizer, train_samples, data_group);
    losses.insert(losses.end(), steps.begin(), steps.end());
    const double sum = std::accumulate(steps.begin(), steps.end(), 0.0);
    std::printf("epoch %3d   loss %.4f\n", epoch, sum / static_cast<double>(steps.size()));
  }
  std::printf("test accuracy %.1f %%\n", 100 * accuracy(model, test_samples, data_group));
  if (!losses_path.empty()) {
    std::ofstream file(losses_path);
    file.precision(17);
    for (const double loss : losses) {
      file << loss << '\n';
    }
  }
}

}  // namespace

int main(int argc, char** argv) {
  try {
    if (argc < 2) {
      throw polyrank::UsageError("usage: train_digits digits.bin [EPOCHS [LOSSES]]");
    }
    train(argv[1], argc > 2 ? std::atoi(argv[2]) : 20, argc > 3 ? argv[3] : "");
    return EXIT_SUCCESS;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return EXIT_FAILURE;
  }
}
