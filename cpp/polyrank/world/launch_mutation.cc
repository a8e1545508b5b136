#include <ATen/core/stack.h>
#include <fcntl.h>
#include <polyrank/core/errors.h>
#include <polyrank/core/str_cat.h>
#include <polyrank/engine/kernel.h>
#include <polyrank/exchange/collective_call.h>
#include <polyrank/exchange/dropped_launch.h>
#include <polyrank/exchange/launch_details.h>
#include <polyrank/report/json_text.h>
#include <polyrank/world/launch_mutation.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdlib>
#include <mutex>
#include <optional>
#include <set>
#include <torch/csrc/distributed/c10d/Work.hpp>
#include <utility>
#include <vector>

namespace polyrank {

namespace {

using Values = std::vector<c10::IValue>;

// A launch that has not run yet.
struct HeldLaunch {
  const c10::SafeKernelFunction* kernel;
  c10::OperatorHandle op;
  c10::DispatchKeySet keys;
  Values arguments;
  std::optional<RankDependentArguments> rank_dependent;
};

// What a thread is doing.
struct OfThread {
  bool is_inside = false;  // of a launch
  std::vector<HeldLaunch> held = {};
  std::optional<LaunchThere> last = {};  // while sites are recorded
};

OfThread& of_thread() {
  thread_local OfThread state;
  return state;
}

class InsideGuard {
 public:
  InsideGuard() { of_thread().is_inside = true; }
  ~InsideGuard() { of_thread().is_inside = false; }
  InsideGuard(const InsideGuard&) = delete;
  InsideGuard& operator=(const InsideGuard&) = delete;
};

// Whether it gives something else on what it gave.
bool changes_again(const CollectiveCall& call) {
  if (call.spec->kind == CollectiveKind::kAllReduce) {
    return call.reduce_op != ReduceOp::kAvg && !is_idempotent(call.reduce_op);
  }
  return call.spec->kind == CollectiveKind::kReduce && !is_idempotent(call.reduce_op);
}

// Whether the program has something of it that it only gets when the launch has run.
bool gives_new_tensors(const CollectiveSpec& spec) {
  return spec.destination == Destination::kResults;
}

// Reads the call, and leaves what the thread has for its next launch.
CollectiveCall call_of(const CollectiveSpec& spec, const Values& arguments) {
  const std::optional<RankDependentArguments> kept = next_rank_dependent_arguments();
  CollectiveCall call = read_call(spec, arguments);
  next_rank_dependent_arguments() = kept;
  return call;
}

void wait_for(const Values& returned) {
  static const auto wait_tensor = c10::Dispatcher::singleton()
                                      .findSchemaOrThrow("_c10d_functional::wait_tensor", "")
                                      .typed<at::Tensor(const at::Tensor&)>();
  for (const c10::IValue& value : returned) {
    if (value.isCustomClass()) {
      value.toCustomClass<c10d::Work>()->wait();
    }
  }
  for (const at::Tensor& tensor : tensors_among(returned)) {
    wait_tensor.call(tensor);
  }
}

Values pop_returned(const c10::OperatorHandle& op, torch::jit::Stack* stack) {
  return torch::jit::pop(*stack, op.schema().returns().size());
}

void push_all(Values values, torch::jit::Stack* stack) {
  for (c10::IValue& value : values) {
    stack->push_back(std::move(value));
  }
}

// Runs what the thread holds back, in the order in which it was launched.
void run_held() {
  const std::vector<HeldLaunch> held = std::exchange(of_thread().held, {});
  for (const HeldLaunch& launch : held) {
    next_rank_dependent_arguments() = launch.rank_dependent;
    torch::jit::Stack stack(launch.arguments);
    launch.kernel->callBoxed(launch.op, launch.keys, &stack);
    wait_for(stack);
  }
}

// The file to which all processes of the run append.
class Log {
 public:
  explicit Log(std::string file) : file_(std::move(file)) {}

  // Appends it, unless this process has.
  void write_once(const std::string& line) {
    {
      const std::lock_guard lock(mutex_);
      if (!written_.insert(line).second) {
        return;
      }
    }
    const std::string text = line + "\n";
    constexpr int kFlags = O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC;
    const int file = ::open(file_.c_str(), kFlags, 0600);  // NOLINT(*-pro-type-vararg)
    const bool is_whole =
        file >= 0 && ::write(file, text.data(), text.size()) == static_cast<ssize_t>(text.size());
    if (file >= 0) {
      ::close(file);
    }
    if (!is_whole) {
      throw UsageError(str_cat("the log of mutations \"", file_, "\" can't be written."));
    }
  }

 private:
  std::string file_;
  std::mutex mutex_;
  std::set<std::string> written_;
};

// The mutation of this process, for its kernels.
struct Running {
  explicit Running(Mutation asked) : mutation(std::move(asked)), log(mutation.log) {}

  const Mutation mutation;
  Log log;
};

JsonText& add_site(const LaunchThere& launch, JsonText* json) {
  return json->begin_object()
      .key("operator")
      .value(launch.site.op_name)
      .key("file")
      .value(launch.site.file)
      .key("line")
      .value(launch.site.line)
      .key("group")
      .value(launch.site.group);
}

// Stands in front of one kernel of one operator.
class MutatingKernel final : public c10::OperatorKernel {
 public:
  MutatingKernel(const CollectiveSpec& spec, c10::SafeKernelFunction behind,
                 std::shared_ptr<Running> running)
      : spec_(spec), behind_(std::move(behind)), running_(std::move(running)) {}

  void operator()(const c10::OperatorHandle& op, c10::DispatchKeySet keys,
                  torch::jit::Stack* stack) {
    if (of_thread().is_inside || spec_.kind == CollectiveKind::kWait) {
      behind_.callBoxed(op, keys, stack);
      return;
    }
    const InsideGuard inside;
    const auto on_top = torch::jit::last(*stack, op.schema().arguments().size());
    const Values arguments(on_top.begin(), on_top.end());
    const LaunchThere launch = launch_there(spec_, arguments);
    if (running_->mutation.kind == MutationKind::kRecord) {
      record(launch, arguments);
      behind_.callBoxed(op, keys, stack);
    } else if (launch.site == running_->mutation.site) {
      running_->log.write_once(R"({"is_reached": true})");
      mutate(op, keys, launch, arguments, stack);
    } else {
      behind_.callBoxed(op, keys, stack);
      run_held();
    }
  }

 private:
  void mutate(const c10::OperatorHandle& op, c10::DispatchKeySet keys, const LaunchThere& launch,
              const Values& arguments, torch::jit::Stack* stack) {
    if (running_->mutation.kind == MutationKind::kDouble) {
      run_twice(op, keys, arguments, stack);
      return;
    }
    if (running_->mutation.kind == MutationKind::kMove) {
      of_thread().held.push_back({&behind_, op, keys, arguments, next_rank_dependent_arguments()});
    }
    torch::jit::drop(*stack, arguments.size());
    push_all(values_without(read_call(spec_, arguments), arguments, launch.group_size), stack);
  }

  void run_twice(const c10::OperatorHandle& op, c10::DispatchKeySet keys, Values arguments,
                 torch::jit::Stack* stack) {
    const std::optional<RankDependentArguments> rank_dependent = next_rank_dependent_arguments();
    behind_.callBoxed(op, keys, stack);
    const Values returned = pop_returned(op, stack);
    wait_for(returned);
    if (gives_new_tensors(spec_)) {
      arguments[static_cast<std::size_t>(spec_.inputs.position)] = returned.front();
    }
    next_rank_dependent_arguments() = rank_dependent;
    push_all(std::move(arguments), stack);
    behind_.callBoxed(op, keys, stack);
  }

  void record(const LaunchThere& launch, const Values& arguments) {
    std::optional<LaunchThere>& last = of_thread().last;
    if (last && last->site != launch.site) {
      JsonText followed;
      add_site(*last, &followed).key("is_followed").value(true).end_object();
      running_->log.write_once(followed.text());
    }
    last = launch;
    const CollectiveCall call = call_of(spec_, arguments);
    JsonText json;
    add_site(launch, &json)
        .key("kind")
        .value(to_string(spec_.kind))
        .key("members")
        .value(launch.members)
        .key("ranks")
        .value(launch.ranks)
        .key("can_double")
        .value(changes_again(call))
        .key("can_move")
        .value(!gives_new_tensors(spec_) && !is_barrier(spec_.kind))
        .end_object();
    running_->log.write_once(json.text());
  }

  const CollectiveSpec& spec_;
  c10::SafeKernelFunction behind_;
  std::shared_ptr<Running> running_;
};

struct NamedKind {
  std::string_view name;
  MutationKind kind;
};

constexpr std::array kKinds = {
    NamedKind{"record", MutationKind::kRecord}, NamedKind{"drop", MutationKind::kDrop},
    NamedKind{"double", MutationKind::kDouble}, NamedKind{"move", MutationKind::kMove}};

std::vector<std::string> lines_of(std::string_view text) {
  std::vector<std::string> lines;
  for (std::size_t end = 0; end != std::string_view::npos;) {
    end = text.find('\n');
    lines.emplace_back(text.substr(0, end));
    text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
  }
  return lines;
}

std::optional<int> number_of(const std::string& text) {
  int number = 0;
  const char* const end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, number);
  return error == std::errc() && stop == end ? std::optional(number) : std::nullopt;
}

// Lockstep's kernels are made when the first mode is entered: ours stand in front of them, too.
KernelsInFront::Make in_front_of_all(KernelsInFront::Make make) {
  cover_operators();
  return make;
}

}  // namespace

LaunchMutation::LaunchMutation(Mutation mutation)
    : kernels_(in_front_of_all([running = std::make_shared<Running>(std::move(mutation))](
                                   const CollectiveSpec& spec, c10::SafeKernelFunction behind) {
        return c10::KernelFunction::makeFromBoxedFunctor(
            std::make_unique<MutatingKernel>(spec, std::move(behind), running));
      })) {}

Mutation parse_mutation(std::string_view text) {
  const std::vector<std::string> lines = lines_of(text);
  const auto* const named = std::ranges::find(kKinds, lines.front(), &NamedKind::name);
  const bool is_record = named != kKinds.end() && named->kind == MutationKind::kRecord;
  const bool is_whole = named != kKinds.end() && lines.size() == (is_record ? 2U : 6U);
  const std::optional<int> line = is_whole && !is_record ? number_of(lines[4]) : 0;
  if (!is_whole || !line) {
    throw UsageError(str_cat("\"", text,
                             "\" is no mutation: it is set by polyrank check mutate, in ",
                             kMutationVariable, ". Unset it."));
  }
  Mutation mutation{.kind = named->kind, .log = lines[1]};
  if (!is_record) {
    mutation.site = {.op_name = lines[2], .file = lines[3], .line = *line, .group = lines[5]};
  }
  return mutation;
}

void mutate_as_environment_says() {
  // NOLINTNEXTLINE(concurrency-mt-unsafe): read at start-up
  if (const char* const text = std::getenv(kMutationVariable); text != nullptr) {
    static const auto* const mutation = new LaunchMutation(parse_mutation(text));
    static_cast<void>(mutation);
  }
}

}  // namespace polyrank
