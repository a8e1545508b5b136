#include <polyrank/core/interned.h>

#include <mutex>
#include <string>
#include <unordered_set>

namespace polyrank {

namespace {

struct Hash {
  using is_transparent = void;
  std::size_t operator()(std::string_view text) const noexcept {
    return std::hash<std::string_view>()(text);
  }
};

}  // namespace

std::string_view interned(std::string_view text) {
  static std::mutex mutex;
  // Never destroyed: records may be read while the process ends.
  static auto* const table = new std::unordered_set<std::string, Hash, std::equal_to<>>();
  const std::lock_guard lock(mutex);
  const auto found = table->find(text);
  return found != table->end() ? *found : *table->emplace(text).first;
}

}  // namespace polyrank
