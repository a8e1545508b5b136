// The key-value store of ranks that are processes.
#pragma once

#include <polyrank/core/export.h>
#include <polyrank/world/processes/rank_process.h>

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <torch/csrc/distributed/c10d/Store.hpp>
#include <vector>

namespace polyrank {

// One store for all ranks of the run, in the memory that they share. That nobody can set a key any
// more that a rank waits for is found as a standstill, unless the wait was given a time-out of its
// own. The launcher can use it too, except to wait.
//
// Thread rule: any thread.
class POLYRANK_API SharedStore final : public c10d::Store {
 public:
  using Value = std::vector<std::uint8_t>;

  explicit SharedStore(std::shared_ptr<RankProcess> rank) : rank_(std::move(rank)) {}

  c10::intrusive_ptr<c10d::Store> clone() override;

  using c10d::Store::compareSet;
  using c10d::Store::set;
  void set(const std::string& key, const Value& data) override;
  Value compareSet(const std::string& key, const Value& expected, const Value& desired) override;
  std::int64_t add(const std::string& key, std::int64_t value) override;
  bool deleteKey(const std::string& key) override;
  void append(const std::string& key, const Value& value) override;
  void multiSet(const std::vector<std::string>& keys, const std::vector<Value>& values) override;
  void queuePush(const std::string& key, const Value& value) override;

  Value get(const std::string& key) override;
  std::vector<Value> multiGet(const std::vector<std::string>& keys) override;
  Value queuePop(const std::string& key, bool block) override;
  std::int64_t queueLen(const std::string& key) override;
  std::int64_t getNumKeys() override;
  std::vector<std::string> listKeys() override;
  // Asked for again and again, lets the others run.
  bool check(const std::vector<std::string>& keys) override;
  bool hasExtendedApi() const override { return true; }
  void wait(const std::vector<std::string>& keys) override;
  void wait(const std::vector<std::string>& keys,
            const std::chrono::milliseconds& timeout) override;

 private:
  struct Keys;

  template <class Access>
  void access(const Access& access);
  template <class Change>
  void change(const Change& change);
  template <class IsThere>
  void wait_until(const std::string& key, const IsThere& is_there,
                  std::optional<std::chrono::milliseconds> timeout);
  void wait_for_keys(const std::vector<std::string>& keys,
                     std::optional<std::chrono::milliseconds> timeout);

  std::shared_ptr<RankProcess> rank_;
};

}  // namespace polyrank
