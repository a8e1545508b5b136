// A variable of the environment, for as long as a test needs it.
#pragma once

#include <cstdlib>
#include <string>

namespace polyrank::dist2 {

// Not to be used while other threads read the environment.
class ScopedVariable {
 public:
  // Null: the variable is not set.
  ScopedVariable(const char* name, const char* value) : name_(name) {
    // NOLINTNEXTLINE(concurrency-mt-unsafe): see above, here and below
    if (const char* const before = std::getenv(name)) {
      before_ = before;
      was_set_ = true;
    }
    set(value);
  }
  ~ScopedVariable() { set(was_set_ ? before_.c_str() : nullptr); }
  ScopedVariable(const ScopedVariable&) = delete;
  ScopedVariable& operator=(const ScopedVariable&) = delete;

 private:
  void set(const char* value) const {
    if (value == nullptr) {
      ::unsetenv(name_);  // NOLINT(concurrency-mt-unsafe)
    } else {
      ::setenv(name_, value, /*replace=*/1);  // NOLINT(concurrency-mt-unsafe)
    }
  }

  const char* name_;
  std::string before_;
  bool was_set_ = false;
};

}  // namespace polyrank::dist2
