#include <ATen/core/dispatch/Dispatcher.h>
#include <gtest/gtest.h>
#include <polyrank/virtual_gpu/inner_memory.h>

#include <algorithm>
#include <set>

namespace polyrank {
namespace {

TEST(InnerMemory, EachRowNamesAnOperatorOnceWithItsSource) {
  std::set<std::string_view> names;
  for (const InnerMemory& row : inner_memory_table()) {
    EXPECT_TRUE(names.insert(row.operation).second) << row.operation;
    EXPECT_FALSE(row.what.empty());
    EXPECT_FALSE(row.source.empty());
    EXPECT_FALSE(to_string(row.certainty).empty());
    EXPECT_TRUE(row.takes_blas_workspace || row.pieces != nullptr) << row.operation;
    EXPECT_EQ(inner_memory_of(row.operation), &row);
    const auto names_of_torch = c10::Dispatcher::singleton().getAllOpNames();
    EXPECT_TRUE(std::ranges::any_of(names_of_torch, [&](const c10::OperatorName& name) {
      return name.name == row.operation;
    })) << row.operation;
  }
  EXPECT_EQ(inner_memory_of("aten::add"), nullptr);
}

}  // namespace
}  // namespace polyrank
