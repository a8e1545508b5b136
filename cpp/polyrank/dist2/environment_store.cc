#include <c10/util/Exception.h>
#include <polyrank/core/errors.h>
#include <polyrank/core/str_cat.h>
#include <polyrank/dist2/environment_store.h>
#include <polyrank/dist2/presence.h>

#include <atomic>
#include <charconv>
#include <cstdlib>
#include <string>
#include <string_view>
#include <thread>
#include <torch/csrc/distributed/c10d/PrefixStore.hpp>
#include <torch/csrc/distributed/c10d/TCPStore.hpp>

namespace polyrank::dist2 {

namespace {

std::string variable(const char* name) {
  const char* const value = std::getenv(name);  // NOLINT(concurrency-mt-unsafe): read at start-up
  if (value == nullptr || *value == '\0') {
    throw UsageError(str_cat(
        "environment variable ", name,
        " expected, but not set. Start the program with torchrun or `polyrank run`, or give "
        "new_group a store, a rank and a world size."));
  }
  return value;
}

int number_of(const char* name, int min, int max) {
  const std::string text = variable(name);
  int number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || end != text.data() + text.size() || number < min || number > max) {
    throw UsageError(str_cat("environment variable ", name, " is \"", text,
                             "\"; it must be a number from ", min, " to ", max));
  }
  return number;
}

bool agent_serves() {
  // NOLINTNEXTLINE(concurrency-mt-unsafe): read at start-up
  const char* const value = std::getenv("TORCHELASTIC_USE_AGENT_STORE");
  return value != nullptr && std::string_view(value) == "True";
}

// Whether somebody listens there in time. PyTorch's store would try for a multiple of the time.
bool is_served(const std::string& address, std::chrono::milliseconds timeout) {
  constexpr std::chrono::milliseconds kPause{50};
  const auto deadline = std::chrono::steady_clock::now() + timeout;
  while (has_ended(address, timeout)) {
    if (std::chrono::steady_clock::now() >= deadline) {
      return false;
    }
    std::this_thread::sleep_for(kPause);
  }
  return true;
}

std::atomic<int> num_stores = 0;

constexpr int kMaxRanks = 1 << 30;

}  // namespace

int rank_of_environment() { return number_of("RANK", 0, kMaxRanks); }

int world_size_of_environment() { return number_of("WORLD_SIZE", 1, kMaxRanks); }

Store environment_store(int rank, int world_size, std::chrono::milliseconds timeout) {
  const std::string host = variable("MASTER_ADDR");
  c10d::TCPStoreOptions options;
  options.port = static_cast<std::uint16_t>(number_of("MASTER_PORT", 1, 65535));
  options.isServer = rank == 0 && !agent_serves();
  options.multiTenant = true;
  options.numWorkers = static_cast<std::size_t>(world_size);
  options.waitWorkers = false;  // who is missing, a roll call says by name
  options.timeout = timeout;
  const std::string address = str_cat(host, ":", options.port);
  std::string reason = "nobody listens there";
  if (options.isServer || is_served(address, timeout)) {
    try {
      const auto store = c10::make_intrusive<c10d::TCPStore>(host, options);
      return c10::make_intrusive<c10d::PrefixStore>(str_cat("polyrank.dist2/", num_stores++),
                                                    store);
    } catch (const c10::Error& error) {
      reason = str_cat("PyTorch says: ", error.what_without_backtrace());
    } catch (const std::exception& error) {
      reason = str_cat("PyTorch says: ", error.what());
    }
  }
  throw CollectiveError(str_cat("rank ", rank, ": no store at ", address, " within ",
                                timeout.count(), " ms; ",
                                agent_serves() ? "torchrun's agent" : "rank 0",
                                " serves it. Is it there, and reached by that name? ", reason));
}

}  // namespace polyrank::dist2
