#include <c10/util/Exception.h>
#include <polyrank/core/errors.h>
#include <polyrank/core/str_cat.h>
#include <polyrank/engine/cohort_errors.h>
#include <polyrank/engine/local_number_text.h>

#include <iterator>
#include <utility>
#include <vector>

namespace polyrank {

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
  const bool is_everywhere = std::ssize(cohorts_) == partition.num_cohorts();
  if (is_everywhere && have_one_type_) {
    std::rethrow_exception(first_.error);
  }
  std::vector<std::int64_t> raises(static_cast<std::size_t>(partition.num_cohorts()), 0);
  for (const std::int32_t cohort : cohorts_) {
    raises[static_cast<std::size_t>(cohort)] = 1;
  }
  const std::int64_t lowest = partition.lowest_rank(first_.cohort);
  const RankPartition parts = partition.coarsen(raises);  // who raises, and who does not
  const RankSet& raising = parts.cohort(parts.cohort_of(lowest));
  throw DivergenceError(str_cat(
      name, " raises an error on ", ranks_text(raising),
      is_everywhere ? ", of several types"
                    : str_cat(", and none on ", ranks_text(partition.ranks().subtract(raising))),
      ". On rank ", lowest, ": ", first_.text,
      "\nThe lockstep world runs one program for all ranks, which can't both go on and handle an "
      "error. Give all ranks what the operator takes, or run the program with "
      "`polyrank run --world threads` (the threads world), where each rank runs its own program."));
}

}  // namespace polyrank
