#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <local_tensors.h>
#include <polyrank/api/collectives.h>
#include <polyrank/api/lockstep_world.h>
#include <polyrank/core/errors.h>
#include <polyrank/world/launch_mutation.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>

namespace polyrank {
namespace {

using ::testing::HasSubstr;
using ::testing::ThrowsMessage;

class LaunchMutationTest : public ::testing::Test {
 protected:
  void TearDown() override { std::filesystem::remove(log_); }

  std::string logged() const {
    std::ostringstream text;
    text << std::ifstream(log_).rdbuf();
    return text.str();
  }

  // Of the all_reduce that a C++ program launches in its world's group: it has no line.
  Mutation mutation(MutationKind kind, const char* op_name = "c10d::allreduce_") const {
    return {.kind = kind, .site = {.op_name = op_name, .group = "world"}, .log = log_};
  }

  std::string log_ =
      (std::filesystem::temp_directory_path() / ("mutation log " + std::to_string(::getpid())))
          .string();
};

TEST_F(LaunchMutationTest, LeavesOut) {
  const at::Tensor x = local_tensor({{1}, {2}});
  const LockstepWorld world(2);
  const LaunchMutation mutated(mutation(MutationKind::kDrop));
  EXPECT_TRUE(all_reduce(x)->isCompleted());
  EXPECT_EQ(values_on_rank(x, 0), std::vector<float>{1});
  EXPECT_EQ(values_on_rank(x, 1), std::vector<float>{2});
  all_reduce(x);
  EXPECT_EQ(logged(), "{\"is_reached\": true}\n");  // once
}

TEST_F(LaunchMutationTest, RunsAgainOnWhatItGave) {
  const at::Tensor x = local_tensor({{1}, {2}});
  const LockstepWorld world(2);
  const LaunchMutation mutated(mutation(MutationKind::kDouble));
  all_reduce(x);
  EXPECT_EQ(values_on_rank(x, 0), std::vector<float>{6});
}

TEST_F(LaunchMutationTest, RunsAfterTheNextCollectiveOfAnotherSite) {
  const at::Tensor x = local_tensor({{1}, {2}});
  const at::Tensor y = local_tensor({{3}, {4}});
  const LockstepWorld world(2);
  const LaunchMutation mutated(mutation(MutationKind::kMove));
  all_reduce(x);
  all_reduce(y);  // at the same site
  EXPECT_EQ(values_on_rank(x, 0), std::vector<float>{1});
  broadcast(x, 1);  // 2 on both
  EXPECT_EQ(values_on_rank(x, 0), std::vector<float>{4});
  EXPECT_EQ(values_on_rank(y, 0), std::vector<float>{7});
}

TEST_F(LaunchMutationTest, LeavesOthersAlone) {
  const at::Tensor x = local_tensor({{1}, {2}});
  const LockstepWorld world(2);
  const LaunchMutation mutated(mutation(MutationKind::kDrop, "c10d::broadcast_"));
  all_reduce(x);
  EXPECT_EQ(values_on_rank(x, 0), std::vector<float>{3});
  EXPECT_EQ(logged(), "");
}

TEST_F(LaunchMutationTest, WritesDownWhatIsLaunched) {
  const at::Tensor x = local_tensor({{1}, {2}});
  const LockstepWorld world(2);
  const LaunchMutation recorded({.log = log_});
  all_reduce(x);
  all_reduce(x);
  EXPECT_EQ(values_on_rank(x, 0), std::vector<float>{6});
  broadcast(x, 0);
  all_reduce(x, {.op = c10d::ReduceOp::MAX});
  const std::string text = logged();
  EXPECT_THAT(text, HasSubstr(R"("operator": "c10d::allreduce_", "file": "", "line": 0, )"
                              R"("group": "world", "kind": "all_reduce", "members": "0-1", )"
                              R"("ranks": "0-1", "can_double": true, "can_move": true})"));
  EXPECT_THAT(text, HasSubstr(R"("can_double": false)"));
  EXPECT_THAT(text, HasSubstr(R"("is_followed": true)"));
  EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), 5);
}

TEST(ParseMutation, ReadsALineEach) {
  EXPECT_EQ(parse_mutation("record\n/a log").log, "/a log");
  const Mutation read = parse_mutation("move\n/log\nc10d::allreduce_\n/a program.py\n12\nmesh_dp");
  EXPECT_EQ(read.kind, MutationKind::kMove);
  EXPECT_EQ(read.site, (LaunchSite{"c10d::allreduce_", "/a program.py", 12, "mesh_dp"}));
  EXPECT_EQ(parse_mutation("drop\n/log\nop\n\n0\n").site.group, "");
}

TEST(ParseMutation, RefusesAnythingElse) {
  for (const char* text : {"", "record", "drop\n/log", "forget\n/log\na\nb\n1\nc"}) {
    EXPECT_THAT([&] { parse_mutation(text); },
                ThrowsMessage<UsageError>(HasSubstr("is no mutation")));
  }
}

}  // namespace
}  // namespace polyrank
