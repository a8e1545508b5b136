// The key-value store of ranks that are threads.
#pragma once

#include <polyrank/core/export.h>
#include <polyrank/world/rank_thread.h>

#include <chrono>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <torch/csrc/distributed/c10d/HashStore.hpp>
#include <utility>
#include <vector>

namespace polyrank {

// A store that all ranks share. Whoever waits for a key lets the others run meanwhile; that nobody
// can set it any more is found as a standstill, unless the wait was given a time-out of its own.
class POLYRANK_API RankStore final : public c10d::HashStore {
 public:
  using Value = std::vector<std::uint8_t>;

  explicit RankStore(std::shared_ptr<RankTurns> turns) : turns_(std::move(turns)) {}

  void set(const std::string& key, const Value& data) override;
  Value compareSet(const std::string& key, const Value& expected, const Value& desired) override;
  std::int64_t add(const std::string& key, std::int64_t value) override;
  void append(const std::string& key, const Value& value) override;
  void multiSet(const std::vector<std::string>& keys, const std::vector<Value>& values) override;
  void queuePush(const std::string& key, const Value& value) override;

  std::int64_t getNumKeys() override;
  std::int64_t queueLen(const std::string& key) override;
  std::vector<std::string> listKeys() override;
  Value get(const std::string& key) override;
  std::vector<Value> multiGet(const std::vector<std::string>& keys) override;
  Value queuePop(const std::string& key, bool block) override;
  // Asked for again and again, lets the others run.
  bool check(const std::vector<std::string>& keys) override;
  void wait(const std::vector<std::string>& keys) override;
  void wait(const std::vector<std::string>& keys,
            const std::chrono::milliseconds& timeout) override;

 private:
  // A program that asks the same again and again lets the others run.
  static void asked(std::string_view question, std::string_view key);
  // Until some key has changed.
  void wait_for_change(RankThread& rank, const std::string& key);
  void keys_changed();

  std::shared_ptr<RankTurns> turns_;
  std::mutex mutex_;
  std::vector<std::shared_ptr<Meeting>> awaited_;  // whose ranks look again at the next change
};

}  // namespace polyrank
