// The errors that polyrank raises. Each message says what was wrong, on which ranks, with which
// values, and what to do.
#pragma once

#include <polyrank/core/export.h>

#include <stdexcept>

namespace polyrank {

class POLYRANK_API Error : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

// A function was called in a way that it does not offer. Python: also a ValueError.
class POLYRANK_API UsageError : public Error {
 public:
  using Error::Error;
};

// A backend was given an option that it does not have. Python: also a KeyError.
class POLYRANK_API UnknownOptionError : public UsageError {
 public:
  using UsageError::UsageError;
};

// An operator, or a use of it, that can't run on LocalTensors. Python: also a NotImplementedError.
class POLYRANK_API UnsupportedOpError : public Error {
 public:
  using Error::Error;
};

// Ranks differ where the program needs them to agree. Python: also a RuntimeError.
class POLYRANK_API DivergenceError : public Error {
 public:
  using Error::Error;
};

// A collective that the real backends would refuse too. Python: also a RuntimeError.
class POLYRANK_API CollectiveError : public Error {
 public:
  using Error::Error;
};

// The ranks of a group launched collectives that do not match.
class POLYRANK_API CollectiveMismatchError : public CollectiveError {
 public:
  using CollectiveError::CollectiveError;
};

// No rank can proceed.
class POLYRANK_API DeadlockError : public CollectiveError {
 public:
  using CollectiveError::CollectiveError;
};

// A fault in polyrank itself.
class POLYRANK_API InternalError : public Error {
 public:
  explicit InternalError(const std::string& what)
      : Error(what + ". This is a fault in polyrank; please report it with the program.") {}
};

}  // namespace polyrank
