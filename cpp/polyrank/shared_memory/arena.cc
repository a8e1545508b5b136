#include <polyrank/core/errors.h>
#include <polyrank/core/str_cat.h>
#include <polyrank/shared_memory/arena.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <bit>
#include <new>

namespace polyrank {

namespace {

constexpr std::size_t kStepsPerDoubling = 4;
constexpr std::size_t kMinClassBits = 7;  // 128 bytes: a header and as much again
constexpr std::size_t kNumClasses = (64 - kMinClassBits) * kStepsPerDoubling;
constexpr std::size_t kMinReservedBytes = std::size_t{1} << 26;

std::size_t bytes_of_class(std::size_t size_class) {
  const std::size_t doubling = size_class / kStepsPerDoubling + kMinClassBits;
  const std::size_t step = size_class % kStepsPerDoubling;
  const std::size_t base = std::size_t{1} << doubling;
  // A multiple of 64, so that blocks stay aligned.
  return (base + step * (base / kStepsPerDoubling) + 63) & ~std::size_t{63};
}

// The smallest class whose blocks have `num_bytes`.
std::size_t class_of(std::size_t num_bytes) {
  const std::size_t least = std::max(num_bytes, std::size_t{1} << kMinClassBits);
  const auto doubling = static_cast<std::size_t>(std::bit_width(least) - 1);
  std::size_t size_class = (doubling - kMinClassBits) * kStepsPerDoubling;
  while (bytes_of_class(size_class) < num_bytes) {
    ++size_class;
  }
  return size_class;
}

}  // namespace

// Stands before what the caller gets.
struct alignas(Arena::kAlignment) Arena::Block {
  std::size_t size_class;
  Block* next;          // in its class's list, while it is free
  bool has_kept_pages;  // likewise
};

struct alignas(Arena::kAlignment) Arena::Header {
  RobustMutex mutex;
  bool is_broken = false;  // somebody died while the lists were changed
  std::size_t reserved_bytes = 0;
  std::size_t next_offset = 0;  // of the range that was never used
  std::size_t used_bytes = 0;
  std::atomic<std::size_t> kept_bytes = 0;
  std::array<Block*, kNumClasses> free{};

  bool lock() noexcept {
    is_broken = !mutex.lock() || is_broken;
    return !is_broken;
  }
};

namespace {

template <class Header>
class HeaderLock {
 public:
  explicit HeaderLock(Header* header) : header_(header), is_intact_(header->lock()) {}
  ~HeaderLock() { header_->mutex.unlock(); }
  HeaderLock(const HeaderLock&) = delete;
  HeaderLock& operator=(const HeaderLock&) = delete;

  bool is_intact() const noexcept { return is_intact_; }

 private:
  Header* header_;
  bool is_intact_;
};

}  // namespace

Arena::Arena(std::size_t max_bytes) {
  void* range = MAP_FAILED;
  while (range == MAP_FAILED) {
    range = mmap(nullptr, max_bytes, PROT_READ | PROT_WRITE,
                 MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (range == MAP_FAILED) {
      max_bytes /= 2;
    }
    if (max_bytes < kMinReservedBytes) {
      throw Error(
          "the system gives no addresses for memory that ranks share; look at the limit of "
          "virtual memory (ulimit -v).");
    }
  }
  madvise(range, max_bytes, MADV_DONTDUMP);
  header_ = new (range) Header;
  header_->reserved_bytes = max_bytes;
  header_->next_offset = sizeof(Header);
}

Arena::~Arena() { munmap(header_, header_->reserved_bytes); }

bool Arena::contains(const void* pointer) const noexcept {
  const auto* const begin = reinterpret_cast<const std::byte*>(header_);
  const auto* const at = static_cast<const std::byte*>(pointer);
  return at >= begin && at < begin + header_->reserved_bytes;
}

std::size_t Arena::used_bytes() const noexcept {
  const HeaderLock lock(header_);
  return header_->used_bytes;
}

std::size_t Arena::kept_bytes() const noexcept {
  const HeaderLock lock(header_);
  return header_->kept_bytes;
}

void* Arena::do_allocate(std::size_t num_bytes, std::size_t /*alignment*/) {
  const std::size_t size_class = class_of(num_bytes + sizeof(Block));
  const std::size_t block_bytes = bytes_of_class(size_class);
  const HeaderLock lock(header_);
  if (!lock.is_intact()) {
    throw Error("a rank died while it changed the memory that ranks share, so the run ends.");
  }
  Block* block = header_->free[size_class];
  if (block != nullptr) {
    header_->free[size_class] = block->next;
    header_->kept_bytes -= block->has_kept_pages ? block_bytes : 0;
  } else {
    if (block_bytes > header_->reserved_bytes - header_->next_offset) {
      throw Error(str_cat("the memory that ranks share is full: ", header_->used_bytes,
                          " bytes are in use, and ", num_bytes,
                          " more were asked for. Wait for "
                          "launches earlier, or use smaller tensors."));
    }
    block = new (reinterpret_cast<std::byte*>(header_) + header_->next_offset) Block{};
    block->size_class = size_class;
    header_->next_offset += block_bytes;
  }
  header_->used_bytes += block_bytes;
  return block + 1;
}

// Gives all pages back but the one with the block's header, and the one that the next block begins
// in.
void Arena::give_pages_back(Block* block) noexcept {
  const auto page = static_cast<std::uintptr_t>(sysconf(_SC_PAGESIZE));
  const auto begin = reinterpret_cast<std::uintptr_t>(block);
  const std::uintptr_t first = (begin + sizeof(Block) + page - 1) / page * page;
  const std::uintptr_t last = (begin + bytes_of_class(block->size_class)) / page * page;
  madvise(reinterpret_cast<void*>(first), last - first, MADV_REMOVE);
}

void Arena::do_deallocate(void* pointer, std::size_t /*num_bytes*/, std::size_t /*alignment*/) {
  auto* const block = static_cast<Block*>(pointer) - 1;
  const std::size_t block_bytes = bytes_of_class(block->size_class);
  const bool is_large = block_bytes >= kLargeBytes;
  block->has_kept_pages = false;
  // Looked at without the lock: a limit that is passed by a few blocks is as good.
  if (is_large && header_->kept_bytes + block_bytes > kMaxKeptBytes) {
    give_pages_back(block);
  } else {
    block->has_kept_pages = is_large;
  }
  const HeaderLock lock(header_);
  if (!lock.is_intact()) {
    return;  // the run ends
  }
  header_->kept_bytes += block->has_kept_pages ? block_bytes : 0;
  block->next = header_->free[block->size_class];
  header_->free[block->size_class] = block;
  header_->used_bytes -= block_bytes;
}

}  // namespace polyrank
