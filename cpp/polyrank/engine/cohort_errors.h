// What an operator raises on some cohorts and not on others.
#pragma once

#include <polyrank/core/export.h>
#include <polyrank/core/rank_partition.h>

#include <cstdint>
#include <exception>
#include <mutex>
#include <string>
#include <typeindex>
#include <vector>

namespace polyrank {

// NOTE [Errors on some ranks]
// A rank whose operator fails goes another way than one whose operator does not: it ends, or its
// program handles the error. So an error is the program's where each cohort raises one of the same
// type, the lowest cohort's then. Where only some do it is a DivergenceError: a branch in which
// ranks part, like any other. To know, cohorts are called on after one has raised.
//
// Thread rule: may be called by several threads.
class POLYRANK_API CohortErrors {
 public:
  // Calls `function` for a cohort and keeps what it raises; errors of polyrank itself are thrown.
  template <typename Function>
  void watch(std::int32_t cohort, Function function) {
    try {
      function();
    } catch (...) {
      keep(cohort);
    }
  }

  // Throws: if any cohort raised: see the note. `name`: of the operator.
  void rethrow(const std::string& name, const RankPartition& partition) const;

  bool is_empty() const noexcept { return first_.cohort < 0; }

 private:
  struct Raised {
    std::int32_t cohort = -1;
    std::exception_ptr error;
    std::string text;
    std::type_index type = typeid(void);
  };

  // In the handler of what the cohort raised.
  void keep(std::int32_t cohort);

  std::mutex mutex_;
  Raised first_;  // of the lowest cohort that raised
  bool have_one_type_ = true;
  std::vector<std::int32_t> cohorts_;  // that raised
};

}  // namespace polyrank
