// How often PyTorch was given one answer to a comparison on which ranks disagree.
#pragma once

#include <cstdint>

namespace polyrank {

// Counts another one. Thread rule: counts are each thread's own.
void count_answer_for_all() noexcept;
// Since the thread's start.
std::uint64_t answers_for_all() noexcept;

}  // namespace polyrank
