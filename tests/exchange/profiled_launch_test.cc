#include <ATen/Functions.h>
#include <ATen/record_function.h>
#include <gtest/gtest.h>
#include <polyrank/exchange/profiled_launch.h>

#include <string>
#include <vector>

namespace polyrank {
namespace {

std::vector<std::string>& seen() {
  static std::vector<std::string> names;
  return names;
}

TEST(ProfiledLaunchTest, IsAnEventOfItsBackendWhileAProfilerIsOn) {
  EXPECT_EQ(begin_profiled("gloo", c10d::OpType::ALLREDUCE, {}), nullptr);
  seen().clear();
  const auto handle = at::addThreadLocalCallback(
      at::RecordFunctionCallback(
          [](const at::RecordFunction& event) -> std::unique_ptr<at::ObserverContext> {
            seen().push_back("begin " + std::string(event.name()));
            return nullptr;
          },
          [](const at::RecordFunction& event, at::ObserverContext* /*context*/) {
            seen().push_back("end " + std::string(event.name()));
          })
          .scopes({at::RecordScope::USER_SCOPE}));
  CollectiveCall call;
  call.units = {{.inputs = {at::ones({2})}, .outputs = {}}};
  const auto end = begin_profiled("gloo", c10d::OpType::ALLREDUCE, call);
  ASSERT_NE(end, nullptr);
  end();
  EXPECT_EQ(begin_profiled("gloo", c10d::OpType::UNKNOWN, {}), nullptr);
  at::removeCallback(handle);
  EXPECT_EQ(seen(), (std::vector<std::string>{"begin gloo:all_reduce", "end gloo:all_reduce"}));
}

}  // namespace
}  // namespace polyrank
