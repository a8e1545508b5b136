#include <gtest/gtest.h>
#include <polyrank/core/errors.h>
#include <polyrank/matching/fault.h>

#include <stdexcept>
#include <typeinfo>

namespace polyrank {
namespace {

template <class E>
void check_round_trip() {
  const Fault fault = fault_of(std::make_exception_ptr(E("what")));
  try {
    std::rethrow_exception(to_exception(fault));
  } catch (const Error& error) {
    EXPECT_EQ(typeid(error), typeid(E));
    EXPECT_STREQ(error.what(), "what");
  }
}

TEST(FaultTest, ErrorsOfOursComeBackAsTheyWere) {  // (1)
  check_round_trip<Error>();
  check_round_trip<UsageError>();
  check_round_trip<UnsupportedOpError>();
  check_round_trip<DivergenceError>();
  check_round_trip<CollectiveError>();
  check_round_trip<CollectiveMismatchError>();
  check_round_trip<DeadlockError>();
}

TEST(FaultTest, OthersBecomeCollectiveErrors) {  // (2)
  const Fault fault = fault_of(std::make_exception_ptr(std::runtime_error("no kernel")));
  EXPECT_EQ(fault.kind, FaultKind::kCollective);
  EXPECT_EQ(fault.text, "no kernel");
}

}  // namespace
}  // namespace polyrank
