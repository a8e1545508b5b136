// A table of results that are looked up again and again.
#pragma once

#include <cstddef>
#include <unordered_map>
#include <utility>

namespace polyrank {

// Remembers results by key. Cleared when it holds `kMaxEntries` entries or `kMaxCost` units of
// cost, so that a program which never repeats itself does not grow; what it repeats is soon back.
//
// Thread rule: one table a thread (`thread_local`), hence no lock.
template <class Key, class Value, class Hash>
class MemoTable {
 public:
  static constexpr std::size_t kMaxEntries = 4096;
  static constexpr std::size_t kMaxCost = std::size_t{1} << 26;

  // The value for `key`, made by `make()` and kept if it is not there. `cost` is what keeping it
  // takes, in units of the caller's choice.
  template <class Make>
  const Value& get(const Key& key, std::size_t cost, Make make) {
    const auto found = entries_.find(key);
    if (found != entries_.end()) {
      return found->second;
    }
    Value value = make();  // before the table changes: it may use the table, or throw
    if (entries_.size() >= kMaxEntries || cost_ + cost > kMaxCost) {
      entries_.clear();
      cost_ = 0;
    }
    cost_ += cost;
    return entries_.emplace(key, std::move(value)).first->second;
  }

 private:
  std::unordered_map<Key, Value, Hash> entries_;
  std::size_t cost_ = 0;
};

}  // namespace polyrank
