#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <polyrank/core/errors.h>
#include <polyrank/world/fake/fake_options.h>

namespace polyrank {
namespace {

using ::testing::HasSubstr;
using ::testing::ThrowsMessage;

TEST(FakeOptions, ValuesHaveNames) {
  for (const FakeValues values : {FakeValues::kMirror, FakeValues::kPyTorch, FakeValues::kRefuse}) {
    EXPECT_EQ(fake_values_from_name(to_string(values)), values);
  }
  EXPECT_THAT([] { fake_values_from_name("random"); },
              ThrowsMessage<UsageError>(HasSubstr("\"mirror\", \"pytorch\" and \"refuse\"")));
}

TEST(FakeOptions, MirrorWithChecksIsTheDefault) {
  const FakeOptions options;
  EXPECT_EQ(options.values, FakeValues::kMirror);
  EXPECT_TRUE(options.checks);
  EXPECT_FALSE(options.error_on_collective);
  EXPECT_EQ(options.backend, "fake");
}

}  // namespace
}  // namespace polyrank
