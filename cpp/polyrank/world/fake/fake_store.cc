#include <polyrank/core/errors.h>
#include <polyrank/core/str_cat.h>
#include <polyrank/engine/interpreter_hooks.h>
#include <polyrank/world/fake/fake_store.h>

namespace polyrank {

namespace {

[[noreturn]] void refuse(const char* what, const std::string& key) {
  raise(
      CollectiveError(str_cat("the store of the fake world has no ", what, " \"", key,
                              "\": another rank would have put it there, and no other runs. Put "
                              "it there with `store.set()` before, or use a store that has it.")));
}

}  // namespace

c10::intrusive_ptr<c10d::Store> FakeStore::clone() {
  return c10::intrusive_ptr<c10d::Store>::reclaim_copy(this);
}

std::vector<std::uint8_t> FakeStore::get(const std::string& key) {
  if (!check({key})) {
    refuse("key", key);
  }
  return HashStore::get(key);
}

std::vector<std::vector<std::uint8_t>> FakeStore::multiGet(const std::vector<std::string>& keys) {
  std::vector<std::vector<std::uint8_t>> values;
  values.reserve(keys.size());
  for (const std::string& key : keys) {
    values.push_back(get(key));
  }
  return values;
}

std::vector<std::uint8_t> FakeStore::queuePop(const std::string& key, bool block) {
  if (block && queueLen(key) == 0) {
    refuse("message in the queue", key);
  }
  return HashStore::queuePop(key, block);
}

}  // namespace polyrank
