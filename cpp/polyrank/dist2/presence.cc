#include <netdb.h>
#include <netinet/in.h>
#include <poll.h>
#include <polyrank/core/errors.h>
#include <polyrank/core/rank_set.h>
#include <polyrank/core/str_cat.h>
#include <polyrank/dist2/presence.h>
#include <pthread.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cerrno>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <mutex>
#include <string_view>
#include <thread>
#include <torch/csrc/distributed/c10d/PrefixStore.hpp>
#include <utility>

namespace polyrank::dist2 {

namespace {

constexpr int kFlags = SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK;

// A socket that is closed with its owner.
class Socket {
 public:
  explicit Socket(int type) : descriptor_(::socket(AF_INET, type, 0)) {}
  ~Socket() {
    if (descriptor_ >= 0) {
      ::close(descriptor_);
    }
  }
  Socket(const Socket&) = delete;
  Socket& operator=(const Socket&) = delete;
  int descriptor() const noexcept { return descriptor_; }

 private:
  int descriptor_;
};

struct FreeAddresses {
  void operator()(addrinfo* list) const noexcept { ::freeaddrinfo(list); }
};

// The first IPv4 address of a host; null if it has none.
std::unique_ptr<addrinfo, FreeAddresses> find_host(const std::string& host,
                                                   const std::string& port) {
  addrinfo hints{};
  hints.ai_family = AF_INET;
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* list = nullptr;
  if (::getaddrinfo(host.c_str(), port.c_str(), &hints, &list) != 0) {
    return nullptr;
  }
  return std::unique_ptr<addrinfo, FreeAddresses>(list);
}

sockaddr_in name_of(const Socket& socket) {
  sockaddr_in name{};
  socklen_t size = sizeof(name);
  ::getsockname(socket.descriptor(), reinterpret_cast<sockaddr*>(&name), &size);
  return name;
}

// The address by which this host reaches the master's, and so other hosts; loopback where nobody
// says. Connecting a datagram socket sends nothing.
std::string own_host() {
  const char* const master = std::getenv("MASTER_ADDR");  // NOLINT(concurrency-mt-unsafe)
  const auto found = find_host(master == nullptr ? "127.0.0.1" : master, "1");
  const Socket probe(SOCK_DGRAM | SOCK_CLOEXEC);
  if (!found || ::connect(probe.descriptor(), found->ai_addr, found->ai_addrlen) != 0) {
    return "127.0.0.1";
  }
  const auto bytes = std::bit_cast<std::array<std::uint8_t, 4>>(name_of(probe).sin_addr.s_addr);
  return str_cat(+bytes[0], ".", +bytes[1], ".", +bytes[2], ".", +bytes[3]);
}

// What a process listens with, until it ends.
struct Listener {
  Socket socket{kFlags};
  std::string address;
};

Listener* listener = nullptr;
std::mutex listener_mutex;

// A child of fork() would answer for its parent; it gets a port of its own if it asks for one.
void forget_in_child() {
  if (listener != nullptr) {
    ::close(listener->socket.descriptor());
    listener = nullptr;
  }
}

Listener* listen_anywhere() {
  auto made = std::make_unique<Listener>();
  sockaddr_in any{};
  any.sin_family = AF_INET;
  any.sin_addr.s_addr = INADDR_ANY;
  const int descriptor = made->socket.descriptor();
  if (::bind(descriptor, reinterpret_cast<const sockaddr*>(&any), sizeof(any)) != 0 ||
      ::listen(descriptor, SOMAXCONN) != 0) {
    throw CollectiveError(
        "this process can't listen on any port, so the other ranks could not tell whether it is "
        "there");
  }
  made->address = str_cat(own_host(), ":", ntohs(name_of(made->socket).sin_port));
  return made.release();
}

// Between two looks at the store.
constexpr std::chrono::milliseconds kPause{10};
constexpr int kLooksBetweenRolls = 20;

std::string key_of(int rank) { return str_cat("here/", rank); }

// What `ask` gives, which speaks to the store.
template <class Ask>
auto asking_store(int rank, int world_size, const Ask& ask) {
  const auto fail = [&](std::string_view reason) {
    throw CollectiveError(str_cat("rank ", rank, " of ", world_size,
                                  ": no process group, since its store can't be reached. Is the "
                                  "process there that serves it? PyTorch says: ",
                                  reason));
  };
  try {
    return ask();
  } catch (const c10::Error& error) {
    fail(error.what_without_backtrace());
  } catch (const std::exception& error) {
    fail(error.what());
  }
  return ask();  // not reached
}

// Who has come so far. It is looked up again and again: the rank that serves the store may be the
// first to give up, and PyTorch logs each wait that ends without its keys.
class RollCall {
 public:
  RollCall(Store store, int world_size) : store_(std::move(store)) {
    for (int member = 0; member < world_size; ++member) {
      keys_.push_back(key_of(member));
      missing_.push_back(member);
    }
  }

  bool have_all_come() {
    if (num_looks_++ % kLooksBetweenRolls == 0) {
      look_up();
    }
    try {
      return store_->check(keys_);
    } catch (const std::exception&) {
      is_store_gone_ = true;
      return false;
    }
  }

  bool is_store_gone() const noexcept { return is_store_gone_; }

  // As of the last look at each member, while the store was there.
  std::string missing() const {
    return str_cat(missing_.size() == 1 ? "rank " : "ranks ", RankSet::of(missing_).to_string());
  }

  std::vector<std::string> addresses() const {
    std::vector<std::string> addresses;
    addresses.reserve(keys_.size());
    for (const std::string& key : keys_) {
      addresses.push_back(store_->get_to_str(key));
    }
    return addresses;
  }

 private:
  void look_up() {
    try {
      std::erase_if(missing_, [&](std::int64_t member) {
        return store_->check({key_of(static_cast<int>(member))});
      });
    } catch (const std::exception&) {
      is_store_gone_ = true;
    }
  }

  Store store_;
  std::vector<std::string> keys_;
  std::vector<std::int64_t> missing_;
  bool is_store_gone_ = false;
  int num_looks_ = 0;
};

}  // namespace

std::string own_address() {
  static const int is_registered = ::pthread_atfork(nullptr, nullptr, &forget_in_child);
  static_cast<void>(is_registered);
  const std::lock_guard lock(listener_mutex);
  if (listener == nullptr) {
    listener = listen_anywhere();
  }
  return listener->address;
}

bool has_ended(const std::string& address, std::chrono::milliseconds timeout) {
  const std::size_t colon = address.rfind(':');
  const auto found = find_host(address.substr(0, colon), address.substr(colon + 1));
  const Socket socket(kFlags);
  if (!found || socket.descriptor() < 0) {
    return false;  // nothing known
  }
  if (::connect(socket.descriptor(), found->ai_addr, found->ai_addrlen) == 0) {
    return false;
  }
  if (errno != EINPROGRESS) {
    return true;
  }
  pollfd ready{.fd = socket.descriptor(), .events = POLLOUT, .revents = 0};
  if (::poll(&ready, 1, static_cast<int>(timeout.count())) <= 0) {
    return true;
  }
  int error = 0;
  socklen_t size = sizeof(error);
  ::getsockopt(socket.descriptor(), SOL_SOCKET, SO_ERROR, &error, &size);
  return error != 0;
}

Store own_keys(const Store& store, int rank, int world_size) {
  return asking_store(rank, world_size, [&]() -> Store {
    const std::string size = str_cat("dist2/", world_size);
    const std::int64_t number = store->add(str_cat(size, "/groups_of/", rank), 1) - 1;
    return c10::make_intrusive<c10d::PrefixStore>(str_cat(size, "/", number), store);
  });
}

std::vector<std::string> roll_call(const Store& store, int rank, int world_size,
                                   std::chrono::milliseconds timeout) {
  RollCall call(store, world_size);
  asking_store(rank, world_size, [&] { store->set(key_of(rank), own_address()); });
  const auto deadline = std::chrono::steady_clock::now() + timeout;
  while (!call.have_all_come()) {
    if (call.is_store_gone() || std::chrono::steady_clock::now() >= deadline) {
      throw CollectiveError(
          str_cat("rank ", rank, " of ", world_size, ": no process group, since ", call.missing(),
                  " did not come within ", timeout.count(),
                  " ms. All members make their groups in the same order; look at whether it was "
                  "started, and at its output.",
                  call.is_store_gone() ? " Who served the store has given up already." : ""));
    }
    std::this_thread::sleep_for(kPause);
  }
  return call.addresses();
}

}  // namespace polyrank::dist2
