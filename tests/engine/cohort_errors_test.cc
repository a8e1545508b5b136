#include <c10/util/Exception.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <polyrank/core/errors.h>
#include <polyrank/engine/cohort_errors.h>

#include <array>
#include <stdexcept>

namespace polyrank {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::ThrowsMessage;

RankPartition evens_and_odds() {
  return RankPartition::from_labels(RankSet::range(0, 4), std::array<std::int64_t, 4>{0, 1, 0, 1});
}

TEST(CohortErrors, NothingWhereNoneRaises) {
  CohortErrors errors;
  errors.watch(0, [] {});
  errors.watch(1, [] {});
  EXPECT_TRUE(errors.is_empty());
  EXPECT_NO_THROW(errors.rethrow("aten::add", evens_and_odds()));
}

TEST(CohortErrors, TheLowestCohortsWhereAllRaiseOneType) {
  CohortErrors errors;
  errors.watch(1, [] { C10_THROW_ERROR(IndexError, "of cohort 1"); });
  errors.watch(0, [] { C10_THROW_ERROR(IndexError, "of cohort 0"); });
  EXPECT_THAT([&] { errors.rethrow("aten::add", evens_and_odds()); },
              ThrowsMessage<c10::IndexError>(HasSubstr("of cohort 0")));
}

TEST(CohortErrors, ADivergenceWhereSomeRaise) {
  CohortErrors errors;
  errors.watch(0, [] {});
  errors.watch(1, [] { C10_THROW_ERROR(IndexError, "out of range"); });
  EXPECT_THAT([&] { errors.rethrow("aten::add", evens_and_odds()); },
              ThrowsMessage<DivergenceError>(AllOf(HasSubstr("aten::add"), HasSubstr("1,3"),
                                                   HasSubstr("0,2"), HasSubstr("out of range"))));
}

TEST(CohortErrors, ADivergenceWhereTypesDiffer) {
  CohortErrors errors;
  errors.watch(0, [] { throw std::runtime_error("plain"); });
  errors.watch(1, [] { C10_THROW_ERROR(IndexError, "out of range"); });
  EXPECT_THAT([&] { errors.rethrow("aten::add", evens_and_odds()); },
              ThrowsMessage<DivergenceError>(HasSubstr("several types")));
}

TEST(CohortErrors, ErrorsOfPolyrankAreThrownAtOnce) {
  CohortErrors errors;
  EXPECT_THROW(errors.watch(0, [] { throw UnsupportedOpError("not here"); }), UnsupportedOpError);
}

}  // namespace
}  // namespace polyrank
