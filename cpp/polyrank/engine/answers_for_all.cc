#include <polyrank/engine/answers_for_all.h>

namespace polyrank {

namespace {

thread_local std::uint64_t num_answers = 0;

}  // namespace

void count_answer_for_all() noexcept { ++num_answers; }

std::uint64_t answers_for_all() noexcept { return num_answers; }

}  // namespace polyrank
