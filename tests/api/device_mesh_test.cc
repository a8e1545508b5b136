#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <local_tensors.h>
#include <polyrank/api/collectives.h>
#include <polyrank/api/device_mesh.h>
#include <polyrank/api/rank_functions.h>
#include <polyrank/core/errors.h>
#include <polyrank/report/collective_record.h>

namespace polyrank {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::ThrowsMessage;

at::Tensor gathered_ranks(const ProcessGroup& group) {
  const at::Tensor own =
      rank_map([](std::int64_t rank) { return at::full({1}, static_cast<double>(rank)); });
  const at::Tensor all = at::zeros({get_world_size(group)});
  all_gather_single(all, own, group);
  return all;
}

TEST(DeviceMesh, GroupsAreTheFibersOfADimension) {
  LockstepWorld world(12);
  DeviceMesh mesh(world, {{"pp", 2}, {"dp", 3}, {"tp", 2}});
  EXPECT_THAT(values_on_rank(gathered_ranks(mesh.get_group("tp")), 9), ElementsAre(8, 9));
  EXPECT_THAT(values_on_rank(gathered_ranks(mesh.get_group("dp")), 9), ElementsAre(7, 9, 11));
  EXPECT_THAT(values_on_rank(gathered_ranks(mesh.get_group("pp")), 9), ElementsAre(3, 9));
  EXPECT_EQ(mesh.get_group("pp"), mesh.get_group("pp"));
}

TEST(DeviceMesh, AFlattenedGroupOrdersItsMembersAsTheDimensionsAreGiven) {
  LockstepWorld world(8);
  DeviceMesh mesh(world, {{"pp", 2}, {"dp", 2}, {"tp", 2}});
  EXPECT_THAT(values_on_rank(gathered_ranks(mesh.get_flattened_group({"pp", "tp"})), 3),
              ElementsAre(2, 3, 6, 7));
  EXPECT_THAT(values_on_rank(gathered_ranks(mesh.get_flattened_group({"tp", "pp"})), 3),
              ElementsAre(2, 6, 3, 7));
}

TEST(DeviceMesh, RanksKnowTheirCoordinates) {
  LockstepWorld world(6);
  DeviceMesh mesh(world, {{"dp", 3}, {"tp", 2}});
  EXPECT_EQ(mesh.size("dp"), 3);
  const at::Tensor rows = at::arange(30.0).view({3, 10});
  const c10::SymInt own = mesh.get_local_rank("dp");
  const at::Tensor row = at::slice_symint(rows, 0, own, own + 1);
  EXPECT_EQ(on_rank(row, 5).select(1, 0).item<double>(), 20);
  EXPECT_EQ(on_rank(row, 2).select(1, 0).item<double>(), 10);
}

TEST(DeviceMesh, ReportsNameTheDimension) {
  LockstepWorld world(4);
  DeviceMesh mesh(world, {{"dp", 2}, {"tp", 2}});
  collective_record().reset();
  all_reduce(at::ones({2}), {.group = mesh.get_group("dp")});
  ASSERT_EQ(collective_record().totals().size(), 1U);
  EXPECT_EQ(collective_record().totals()[0].group->label(), "mesh_dp");
}

TEST(DeviceMesh, RefusesWhatDoesNotFit) {
  LockstepWorld world(4);
  std::vector<MeshDim> dims;
  const auto make = [&] { return DeviceMesh(world, dims).get_group("dp"); };
  dims = {{"dp", 2}, {"tp", 3}};
  EXPECT_THAT(make, ThrowsMessage<UsageError>(
                        HasSubstr(R"({"dp": 2, "tp": 3} does not fit a world of 4 ranks)")));
  dims = {{"dp", 2}, {"dp", 2}};
  EXPECT_THAT(make, ThrowsMessage<UsageError>(HasSubstr(R"(two dimensions "dp")")));
  dims = {{"dp", -2}, {"tp", -2}};
  EXPECT_THAT(make, ThrowsMessage<UsageError>(HasSubstr("mesh dimension 0 has size -2")));
  dims = {{"tp", 4}};
  EXPECT_THAT(make, ThrowsMessage<UsageError>(HasSubstr(R"(no dimension "dp")")));
  DeviceMesh mesh(world, dims);
  EXPECT_THAT([&] { mesh.get_flattened_group({"tp", "tp"}); },
              ThrowsMessage<UsageError>(HasSubstr("mesh dimension 0 was named twice")));
}

}  // namespace
}  // namespace polyrank
