#include <c10/util/Exception.h>
#include <polyrank/core/errors.h>
#include <polyrank/core/str_cat.h>
#include <polyrank/engine/cohort_errors.h>
#include <polyrank/engine/local_number_text.h>

#include <algorithm>
#include <utility>
#include <vector>

namespace polyrank {

namespace {

std::string ranks_of(const std::vector<std::int32_t>& cohorts, const RankPartition& partition) {
  RankSet ranks = partition.cohort(cohorts.front());
  for (const std::int32_t cohort : cohorts) {
    ranks = ranks.unite(partition.cohort(cohort));
  }
  return ranks_text(ranks);
}

}  // namespace

void CohortErrors::keep(std::int32_t cohort) {
  Raised raised;
  raised.cohort = cohort;
  raised.error = std::current_exception();
  try {
    throw;
  } catch (const Error&) {
    throw;
  } catch (const c10::Error& error) {
    raised.text = error.what_without_backtrace();
    raised.type = typeid(error);
  } catch (const std::exception& error) {
    raised.text = error.what();
    raised.type = typeid(error);
  }
  const std::lock_guard lock(mutex_);
  have_one_type_ = have_one_type_ && (is_empty() || raised.type == first_.type);
  cohorts_.push_back(cohort);
  if (is_empty() || cohort < first_.cohort) {
    first_ = std::move(raised);
  }
}

void CohortErrors::rethrow(const std::string& name, const RankPartition& partition) const {
  if (is_empty()) {
    return;
  }
  std::vector<std::int32_t> others;
  for (std::int32_t cohort = 0; cohort < partition.num_cohorts(); ++cohort) {
    if (std::ranges::find(cohorts_, cohort) == cohorts_.end()) {
      others.push_back(cohort);
    }
  }
  if (others.empty() && have_one_type_) {
    std::rethrow_exception(first_.error);
  }
  throw DivergenceError(str_cat(
      name, " raises an error on ", ranks_of(cohorts_, partition),
      others.empty() ? ", of several types"
                     : str_cat(", and none on ", ranks_of(others, partition)),
      ". On rank ", partition.lowest_rank(first_.cohort), ": ", first_.text,
      "\nThe lockstep world runs one program for all ranks, which can't both go on and handle an "
      "error. Give all ranks what the operator takes, or run the program with `polyrank run "
      "--world "
      "threads` (the threads world), where each rank runs its own program."));
}

}  // namespace polyrank
