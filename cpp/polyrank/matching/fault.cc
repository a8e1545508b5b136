#include <polyrank/core/errors.h>
#include <polyrank/matching/fault.h>

#include <array>

namespace polyrank {

namespace {

struct FaultClass {
  FaultKind kind;
  bool (*matches)(const std::exception& error);
  std::exception_ptr (*make)(const std::string& text);
};

template <class E>
constexpr FaultClass class_of(FaultKind kind) {
  return {kind,
          [](const std::exception& error) { return dynamic_cast<const E*>(&error) != nullptr; },
          [](const std::string& text) { return std::make_exception_ptr(E(text)); }};
}

// Derived classes first.
constexpr std::array kClasses = {
    class_of<DeadlockError>(FaultKind::kDeadlock),
    class_of<CollectiveMismatchError>(FaultKind::kMismatch),
    class_of<CollectiveError>(FaultKind::kCollective),
    class_of<DivergenceError>(FaultKind::kDivergence),
    class_of<UnsupportedOpError>(FaultKind::kUnsupported),
    class_of<UsageError>(FaultKind::kUsage),
    class_of<Error>(FaultKind::kError),
};

}  // namespace

Fault fault_of(const std::exception_ptr& error) {
  try {
    std::rethrow_exception(error);
  } catch (const std::exception& known) {
    for (const FaultClass& one : kClasses) {
      if (one.matches(known)) {
        return {.kind = one.kind, .text = known.what()};
      }
    }
    return {.kind = FaultKind::kCollective, .text = known.what()};
  } catch (...) {
    return {.kind = FaultKind::kCollective, .text = "an exception that is no std::exception"};
  }
}

std::exception_ptr to_exception(const Fault& fault) {
  for (const FaultClass& one : kClasses) {
    if (one.kind == fault.kind) {
      return one.make(fault.text);
    }
  }
  return std::make_exception_ptr(Error(fault.text));
}

}  // namespace polyrank
