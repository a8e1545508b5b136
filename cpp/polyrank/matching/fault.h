// An error that can go from one process to another.
#pragma once

#include <polyrank/core/export.h>

#include <cstdint>
#include <exception>
#include <string>

namespace polyrank {

// Which of the classes of core/errors.h it is.
enum class FaultKind : std::uint8_t {
  kError,  // of no class below; or of PyTorch
  kUsage,
  kUnsupported,
  kDivergence,
  kCollective,
  kMismatch,
  kDeadlock,
};

struct Fault {
  FaultKind kind = FaultKind::kError;
  std::string text = {};
};

// What an exception says, and back.
// Ensures: (1) of an error of core/errors.h, to_exception(fault_of(error)) has its class and text;
//          except an InternalError, which becomes an Error; (2) what is no error of ours becomes a
//          CollectiveError with its text.
POLYRANK_API Fault fault_of(const std::exception_ptr& error);
POLYRANK_API std::exception_ptr to_exception(const Fault& fault);

}  // namespace polyrank
