#include <gtest/gtest.h>
#include <polyrank/collective/collective_table.h>

#include <set>
#include <string>

namespace polyrank {
namespace {

bool is_present(const TensorArgument& argument) {
  EXPECT_EQ(argument.position == kAbsent, argument.packing == Packing::kNone);
  return argument.position != kAbsent;
}

// What must hold between the columns of a row; the Python tests compare rows with the schemas.
void check_row(const CollectiveSpec& row) {
  SCOPED_TRACE(row.op_name);
  EXPECT_EQ(find_collective(row.op_name), &row);
  const bool is_collective = row.kind != CollectiveKind::kNotACollective;
  const bool talks = is_collective && row.kind != CollectiveKind::kWait;
  EXPECT_EQ(row.group != kAbsent, talks);
  EXPECT_TRUE(row.reduce_op == kAbsent || is_reduction(row.kind));  // without one: a sum
  EXPECT_EQ(row.destination == Destination::kOutputs, is_present(row.outputs));
  EXPECT_EQ(is_present(row.inputs), is_collective && !is_barrier(row.kind));
  EXPECT_EQ(row.output_split_sizes == kAbsent, row.input_split_sizes == kAbsent);
  EXPECT_EQ(row.gather_dim == kAbsent, row.shard_dim == kAbsent);
  if (has_root(row.kind)) {
    EXPECT_NE(row.root, kAbsent);
  }
  if (row.async_op != kAbsent) {
    EXPECT_TRUE(row.returns == Returns::kWork || row.returns == Returns::kTensorsAndWork);
  }
  if (row.destination == Destination::kResults) {
    EXPECT_EQ(row.returns, Returns::kTensors);
  }
  if (!is_collective) {
    EXPECT_FALSE(row.lockstep);
  }
}

TEST(CollectiveTable, RowsAreConsistent) {
  for (const CollectiveSpec& row : collective_table()) {
    check_row(row);
  }
}

TEST(CollectiveTable, NamesEachOperatorOnce) {
  std::set<std::string_view> names;
  for (const CollectiveSpec& row : collective_table()) {
    EXPECT_TRUE(names.insert(row.op_name).second) << row.op_name;
  }
}

TEST(CollectiveTable, NoArgumentHasTwoRoles) {
  for (const CollectiveSpec& row : collective_table()) {
    std::set<int> taken;
    for (const ArgumentPosition position :
         {row.inputs.position, row.outputs.position, row.group, row.group_size, row.root,
          row.reduce_op, row.output_split_sizes, row.input_split_sizes, row.gather_dim,
          row.shard_dim, row.async_op, row.sparse_indices}) {
      if (position != kAbsent) {
        EXPECT_TRUE(taken.insert(position).second) << row.op_name << " argument " << int{position};
      }
    }
  }
}

TEST(CollectiveTable, DoesNotKnowOtherOperators) {
  EXPECT_EQ(find_collective("aten::add"), nullptr);
  EXPECT_EQ(find_collective("c10d::"), nullptr);
}

TEST(CollectiveTable, ColumnsHaveReadableValues) {
  const CollectiveSpec& row = *find_collective("c10d::allgather_");
  EXPECT_EQ(to_string(row.outputs.packing), "one_per_member");
  EXPECT_EQ(to_string(row.destination), "outputs");
  EXPECT_EQ(to_string(row.returns), "tensors_and_work");
}

}  // namespace
}  // namespace polyrank
