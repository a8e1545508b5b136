#include <polyrank/core/str_cat.h>
#include <polyrank/engine/interpreter_hooks.h>
#include <polyrank/report/call_site.h>
#include <polyrank/world/threads/rank_store.h>

namespace polyrank {

void RankStore::wait_for_change(RankThread& rank, const std::string& key) {
  const auto change =
      new_event(rank.rank(), str_cat("key \"", key, "\" of the store"), source_line_text());
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    awaited_.push_back(change);
  }
  translating_errors([&] { rank.wait(change); });
}

void RankStore::keys_changed() {
  std::vector<std::shared_ptr<Meeting>> awaited;
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    awaited.swap(awaited_);
  }
  for (const auto& change : awaited) {
    turns_->finish(change);
  }
}

void RankStore::set(const std::string& key, const Value& data) {
  HashStore::set(key, data);
  keys_changed();
}

RankStore::Value RankStore::compareSet(const std::string& key, const Value& expected,
                                       const Value& desired) {
  asked("compare_set", key);
  Value value = HashStore::compareSet(key, expected, desired);
  keys_changed();
  return value;
}

std::int64_t RankStore::add(const std::string& key, std::int64_t value) {
  if (value == 0) {
    asked("add", key);
  }
  const std::int64_t sum = HashStore::add(key, value);
  keys_changed();
  return sum;
}

std::int64_t RankStore::getNumKeys() {
  asked("num_keys", "");
  return HashStore::getNumKeys();
}

void RankStore::append(const std::string& key, const Value& value) {
  HashStore::append(key, value);
  keys_changed();
}

void RankStore::multiSet(const std::vector<std::string>& keys, const std::vector<Value>& values) {
  HashStore::multiSet(keys, values);
  keys_changed();
}

void RankStore::queuePush(const std::string& key, const Value& value) {
  HashStore::queuePush(key, value);
  keys_changed();
}

std::int64_t RankStore::queueLen(const std::string& key) {
  asked("queue_len", key);
  return HashStore::queueLen(key);
}

std::vector<std::string> RankStore::listKeys() {
  asked("list_keys", "");
  return HashStore::listKeys();
}

void RankStore::asked(std::string_view question, std::string_view key) {
  RankThread* rank = RankThread::current();
  if (rank != nullptr) {
    translating_errors([&] { rank->asked(std::hash<std::string>()(str_cat(question, " ", key))); });
  }
}

RankStore::Value RankStore::get(const std::string& key) {
  wait({key});
  asked("get", key);
  return HashStore::get(key);
}

std::vector<RankStore::Value> RankStore::multiGet(const std::vector<std::string>& keys) {
  wait(keys);
  return HashStore::multiGet(keys);
}

RankStore::Value RankStore::queuePop(const std::string& key, bool block) {
  RankThread* rank = RankThread::current();
  if (!block) {
    asked("queue_pop", key);
  }
  while (block && rank != nullptr && HashStore::queueLen(key) == 0) {
    wait_for_change(*rank, key);
  }
  return HashStore::queuePop(key, block);
}

bool RankStore::check(const std::vector<std::string>& keys) {
  RankThread* rank = RankThread::current();
  if (!HashStore::check(keys) && rank != nullptr) {
    translating_errors([&] { rank->yield(); });
  }
  return HashStore::check(keys);
}

void RankStore::wait(const std::vector<std::string>& keys) {
  RankThread* rank = RankThread::current();
  if (rank == nullptr) {
    HashStore::wait(keys, timeout_);
    return;
  }
  for (const std::string& key : keys) {
    while (!HashStore::check({key})) {
      wait_for_change(*rank, key);
    }
  }
}

void RankStore::wait(const std::vector<std::string>& keys,
                     const std::chrono::milliseconds& timeout) {
  if (!HashStore::check(keys)) {
    const RankPauseGuard pause;
    HashStore::wait(keys, timeout);
  }
}

}  // namespace polyrank
