#include <polyrank/core/errors.h>
#include <polyrank/core/str_cat.h>
#include <polyrank/engine/interpreter_hooks.h>
#include <polyrank/report/call_site.h>
#include <polyrank/world/processes/shared_store.h>
#include <sched.h>

#include <algorithm>
#include <deque>
#include <utility>

namespace polyrank {

namespace {

using SharedValue = BoardList<std::uint8_t>;

SharedStore::Value as_value(const SharedValue& value) { return {value.begin(), value.end()}; }

}  // namespace

// In the memory that ranks share.
struct SharedStore::Keys {
  BoardMap<BoardText, SharedValue> values;
  BoardMap<BoardText, std::deque<SharedValue, BoardAllocator<SharedValue>>> queues;
  BoardList<std::shared_ptr<Meeting>> awaited;  // whose ranks look again at the next change

  bool has(const std::string& key) const {
    return values.contains(std::string_view(key)) || queues.contains(std::string_view(key));
  }
};

// Runs `access` on the keys, which nobody else has meanwhile; it gives the events that happened.
template <class Access>
void SharedStore::access(const Access& access) {
  translating_errors([&] {
    rank_->take_turn();
    rank_->run().access_store([&](std::shared_ptr<void>& store) {
      if (store == nullptr) {
        store = make_board_shared<Keys>();
      }
      return access(*static_cast<Keys*>(store.get()));
    });
  });
}

// The same for what changes a key: whoever waits for one looks again.
template <class Change>
void SharedStore::change(const Change& change) {
  access([&](Keys& keys) {
    change(keys);
    SharedRun::Events happened(keys.awaited.begin(), keys.awaited.end());
    keys.awaited.clear();
    return happened;
  });
}

c10::intrusive_ptr<c10d::Store> SharedStore::clone() {
  return c10::make_intrusive<SharedStore>(rank_);
}

void SharedStore::set(const std::string& key, const Value& data) {
  change([&](Keys& keys) { keys.values[key] = data; });
}

SharedStore::Value SharedStore::compareSet(const std::string& key, const Value& expected,
                                           const Value& desired) {
  Value now;
  change([&](Keys& keys) {
    const auto found = keys.values.find(std::string_view(key));
    const bool is_new = found == keys.values.end();
    if (is_new ? expected.empty() : as_value(found->second) == expected) {
      keys.values[key] = desired;
      now = desired;
    } else {
      now = is_new ? expected : as_value(found->second);
    }
  });
  return now;
}

std::int64_t SharedStore::add(const std::string& key, std::int64_t value) {
  std::int64_t sum = value;
  change([&](Keys& keys) {
    SharedValue& held = keys.values[key];
    if (!held.empty()) {
      sum += std::stoll(std::string(held.begin(), held.end()));
    }
    const std::string text = std::to_string(sum);
    held.assign(text.begin(), text.end());
  });
  return sum;
}

bool SharedStore::deleteKey(const std::string& key) {
  bool was_there = false;
  change([&](Keys& keys) {
    was_there = keys.values.erase(BoardText(key)) > 0;
    was_there = keys.queues.erase(BoardText(key)) > 0 || was_there;
  });
  return was_there;
}

void SharedStore::append(const std::string& key, const Value& value) {
  change([&](Keys& keys) {
    SharedValue& held = keys.values[key];
    held.insert(held.end(), value.begin(), value.end());
  });
}

void SharedStore::multiSet(const std::vector<std::string>& keys, const std::vector<Value>& values) {
  if (keys.size() != values.size()) {
    raise(UsageError(str_cat("the store was given ", keys.size(), " keys and ", values.size(),
                             " values; it needs as many of both.")));
  }
  change([&](Keys& all) {
    for (std::size_t i = 0; i < keys.size(); ++i) {
      all.values[keys[i]] = values[i];
    }
  });
}

void SharedStore::queuePush(const std::string& key, const Value& value) {
  change([&](Keys& keys) { keys.queues[key].emplace_back(value); });
}

// Until `is_there`, which runs on the keys, is true.
template <class IsThere>
void SharedStore::wait_until(const std::string& key, const IsThere& is_there,
                             std::optional<std::chrono::milliseconds> timeout) {
  const auto deadline =
      std::chrono::steady_clock::now() + timeout.value_or(std::chrono::milliseconds(0));
  while (true) {
    std::optional<HeldMeeting> event;
    const std::string where = source_line_text();
    access([&](Keys& keys) {
      if (!is_there(keys)) {
        keys.awaited.push_back(
            new_event(rank_->rank(), str_cat("key \"", key, "\" of the store"), where));
        event.emplace(rank_->run().hold(keys.awaited.back()));
      }
      return SharedRun::Events{};
    });
    if (!event) {
      return;
    }
    std::optional<std::chrono::milliseconds> left;
    if (timeout) {
      left = std::chrono::duration_cast<std::chrono::milliseconds>(
          deadline - std::chrono::steady_clock::now());
      if (left->count() <= 0) {
        C10_THROW_ERROR(DistStoreError,
                        str_cat("wait timeout after ", timeout->count(), "ms, keys: ", key));
      }
    }
    translating_errors([&] {
      try {
        rank_->wait(*event, left);
      } catch (const CollectiveError&) {
        if (!left || rank_->run().failure()) {
          throw;  // else time is up, which is told above
        }
      }
    });
  }
}

SharedStore::Value SharedStore::get(const std::string& key) { return multiGet({key}).front(); }

std::vector<SharedStore::Value> SharedStore::multiGet(const std::vector<std::string>& keys) {
  std::vector<Value> values;
  for (const std::string& key : keys) {
    wait_until(
        key,
        [&](Keys& all) {
          const auto found = all.values.find(std::string_view(key));
          if (found == all.values.end()) {
            return false;
          }
          values.push_back(as_value(found->second));
          return true;
        },
        std::nullopt);
  }
  return values;
}

SharedStore::Value SharedStore::queuePop(const std::string& key, bool block) {
  std::optional<Value> popped;
  const auto pop = [&](Keys& keys) {
    const auto found = keys.queues.find(std::string_view(key));
    if (found == keys.queues.end()) {
      return false;
    }
    popped = as_value(found->second.front());
    found->second.pop_front();
    if (found->second.empty()) {
      keys.queues.erase(found);
    }
    return true;
  };
  if (block) {
    wait_until(key, pop, std::nullopt);
  } else {
    access([&](Keys& keys) {
      pop(keys);
      return SharedRun::Events{};
    });
  }
  if (!popped) {
    C10_THROW_ERROR(DistQueueEmptyError, "queue is empty");
  }
  return *popped;
}

std::int64_t SharedStore::queueLen(const std::string& key) {
  std::size_t length = 0;
  access([&](Keys& keys) {
    const auto found = keys.queues.find(std::string_view(key));
    length = found == keys.queues.end() ? 0 : found->second.size();
    return SharedRun::Events{};
  });
  return static_cast<std::int64_t>(length);
}

std::int64_t SharedStore::getNumKeys() { return static_cast<std::int64_t>(listKeys().size()); }

std::vector<std::string> SharedStore::listKeys() {
  std::vector<std::string> names;
  access([&](Keys& keys) {
    for (const auto& [name, value] : keys.values) {
      names.push_back(name.str());
    }
    for (const auto& [name, queue] : keys.queues) {
      names.push_back(name.str());
    }
    return SharedRun::Events{};
  });
  return names;
}

bool SharedStore::check(const std::vector<std::string>& keys) {
  bool are_there = false;
  access([&](Keys& all) {
    are_there = std::ranges::all_of(keys, [&](const std::string& key) { return all.has(key); });
    return SharedRun::Events{};
  });
  if (!are_there) {
    rank_->yield();
    sched_yield();
  }
  return are_there;
}

void SharedStore::wait_for_keys(const std::vector<std::string>& keys,
                                std::optional<std::chrono::milliseconds> timeout) {
  for (const std::string& key : keys) {
    wait_until(key, [&](Keys& all) { return all.has(key); }, timeout);
  }
}

void SharedStore::wait(const std::vector<std::string>& keys) { wait_for_keys(keys, std::nullopt); }

void SharedStore::wait(const std::vector<std::string>& keys,
                       const std::chrono::milliseconds& timeout) {
  wait_for_keys(keys, timeout);
}

}  // namespace polyrank
