#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <polyrank/core/errors.h>
#include <polyrank/engine/interpreter_hooks.h>

#include <stdexcept>
#include <string>

namespace polyrank {
namespace {

using ::testing::HasSubstr;
using ::testing::ThrowsMessage;

// Gives the hook of errors back what it was.
class InterpreterHooksTest : public ::testing::Test {
 protected:
  void TearDown() override { interpreter_hooks().rethrow = before_; }

 private:
  void (*before_)(const std::exception_ptr&) = interpreter_hooks().rethrow;
};

void as_seen_by_python(const std::exception_ptr& error) {
  try {
    std::rethrow_exception(error);
  } catch (const Error& own) {
    throw std::out_of_range(std::string("in Python: ") + own.what());
  }
}

TEST_F(InterpreterHooksTest, WithoutAnInterpreterErrorsAreThrownAsTheyAre) {
  interpreter_hooks().rethrow = nullptr;
  EXPECT_THAT([] { raise(UsageError("no such rank")); },
              ThrowsMessage<UsageError>(HasSubstr("no such rank")));
  EXPECT_THROW(translating_errors([] { throw DivergenceError("ranks part"); }), DivergenceError);
  EXPECT_EQ(translating_errors([] { return 3; }), 3);
}

TEST_F(InterpreterHooksTest, WithOneTheyAreWhatItMakesOfThem) {
  interpreter_hooks().rethrow = &as_seen_by_python;
  EXPECT_THAT([] { raise(UsageError("no such rank")); },
              ThrowsMessage<std::out_of_range>(HasSubstr("in Python: no such rank")));
  EXPECT_THROW(translating_errors([] { throw DivergenceError("ranks part"); }), std::out_of_range);
  EXPECT_THROW(translating_errors([] { throw std::runtime_error("other"); }), std::runtime_error);
}

}  // namespace
}  // namespace polyrank
