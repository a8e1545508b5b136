#include <ATen/Context.h>
#include <polyrank/virtual_gpu/pinned_memory.h>

#include <iterator>
#include <map>
#include <memory>
#include <mutex>
#include <utility>

namespace polyrank {

namespace {

class PinnedRanges final {
 public:
  void add(const void* begin, std::size_t bytes) {
    const std::lock_guard<std::mutex> lock(mutex_);
    end_by_begin_[begin] = static_cast<const char*>(begin) + bytes;
  }
  void remove(const void* begin) {
    const std::lock_guard<std::mutex> lock(mutex_);
    end_by_begin_.erase(begin);
  }
  bool contains(const void* data) {
    const std::lock_guard<std::mutex> lock(mutex_);
    const auto next = end_by_begin_.upper_bound(data);
    return next != end_by_begin_.begin() && data < std::prev(next)->second;
  }

 private:
  std::mutex mutex_;
  std::map<const void*, const void*> end_by_begin_;  // guarded by mutex_
};

PinnedRanges& pinned_ranges() {
  static auto* ranges = new PinnedRanges();  // tensors may outlive everything
  return *ranges;
}

void delete_pinned(void* context) {
  const std::unique_ptr<c10::DataPtr> data(static_cast<c10::DataPtr*>(context));
  pinned_ranges().remove(data->get());
}

// `owned`, which says that it is pinned.
c10::DataPtr pinned(c10::DataPtr owned, std::size_t bytes) {
  auto held = std::make_unique<c10::DataPtr>(std::move(owned));
  void* const data = held->get();
  if (data != nullptr) {
    pinned_ranges().add(data, bytes);
  }
  return {data, held.release(), &delete_pinned, c10::Device(c10::kCPU)};
}

class PinnedAllocator final : public c10::Allocator {
 public:
  c10::DataPtr allocate(std::size_t bytes) override {
    return pinned(at::GetAllocator(c10::kCPU)->allocate(bytes), bytes);
  }
  void copy_data(void* destination, const void* source, std::size_t bytes) const override {
    default_copy_data(destination, source, bytes);
  }
};

}  // namespace

c10::Allocator* pinned_memory_allocator() {
  static PinnedAllocator allocator;
  return &allocator;
}

void pin_in_place(c10::StorageImpl* storage) {
  c10::DataPtr plain = storage->set_data_ptr(c10::DataPtr());
  storage->set_data_ptr_noswap(pinned(std::move(plain), storage->nbytes()));
}

bool is_pinned(const void* data) { return pinned_ranges().contains(data); }

}  // namespace polyrank
