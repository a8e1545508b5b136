#include <gtest/gtest.h>
#include <polyrank/core/errors.h>

#include <string>
#include <type_traits>

namespace polyrank {
namespace {

TEST(Errors, AreOneFamily) {
  static_assert(std::is_base_of_v<std::runtime_error, Error>);
  static_assert(std::is_base_of_v<Error, UsageError>);
  static_assert(std::is_base_of_v<Error, UnsupportedOpError>);
  static_assert(std::is_base_of_v<Error, DivergenceError>);
  static_assert(std::is_base_of_v<Error, CollectiveError>);
  static_assert(std::is_base_of_v<CollectiveError, CollectiveMismatchError>);
  static_assert(std::is_base_of_v<CollectiveError, DeadlockError>);
  static_assert(std::is_base_of_v<Error, InternalError>);
  EXPECT_STREQ(UsageError("no group rank 2").what(), "no group rank 2");
}

TEST(Errors, OurOwnFaultAsksForAReport) {
  EXPECT_STREQ(InternalError("no storage").what(),
               "no storage. This is a fault in polyrank; please report it with the program.");
}

}  // namespace
}  // namespace polyrank
