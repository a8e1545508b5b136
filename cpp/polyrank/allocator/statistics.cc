#include <polyrank/allocator/statistics.h>

#include <algorithm>

namespace polyrank {

namespace {

template <class Change>
void change_all(AllocatorStatistics& statistics, const Change& change) {
  for (const auto& [name, figure] : pool_figures()) {
    change((statistics.*figure).all);
    change((statistics.*figure).small_pool);
    change((statistics.*figure).large_pool);
  }
  for (const auto& [name, figure] : oversize_figures()) {
    change(statistics.*figure);
  }
}

}  // namespace

void MemoryFigure::increase(std::int64_t amount) noexcept {
  current += amount;
  peak = std::max(peak, current);
  allocated += amount;
}

void MemoryFigure::decrease(std::int64_t amount) noexcept {
  current -= amount;
  freed += amount;
}

void PoolFigure::increase(bool is_small, std::int64_t amount) noexcept {
  all.increase(amount);
  (is_small ? small_pool : large_pool).increase(amount);
}

void PoolFigure::decrease(bool is_small, std::int64_t amount) noexcept {
  all.decrease(amount);
  (is_small ? small_pool : large_pool).decrease(amount);
}

void AllocatorStatistics::reset_peaks() noexcept {
  change_all(*this, [](MemoryFigure& figure) { figure.reset_peak(); });
}

void AllocatorStatistics::reset_accumulated() noexcept {
  change_all(*this, [](MemoryFigure& figure) { figure.reset_accumulated(); });
  for (const auto& [name, count] : counts()) {
    this->*count = 0;
  }
}

const std::array<std::pair<std::string_view, PoolFigure AllocatorStatistics::*>, 9>&
pool_figures() noexcept {
  using S = AllocatorStatistics;
  static constexpr std::array<std::pair<std::string_view, PoolFigure S::*>, 9> figures{{
      {"allocation", &S::allocation},
      {"segment", &S::segment},
      {"active", &S::active},
      {"inactive_split", &S::inactive_split},
      {"allocated_bytes", &S::allocated_bytes},
      {"reserved_bytes", &S::reserved_bytes},
      {"active_bytes", &S::active_bytes},
      {"inactive_split_bytes", &S::inactive_split_bytes},
      {"requested_bytes", &S::requested_bytes},
  }};
  return figures;
}

const std::array<std::pair<std::string_view, MemoryFigure AllocatorStatistics::*>, 2>&
oversize_figures() noexcept {
  using S = AllocatorStatistics;
  static constexpr std::array<std::pair<std::string_view, MemoryFigure S::*>, 2> figures{{
      {"oversize_allocations", &S::oversize_allocations},
      {"oversize_segments", &S::oversize_segments},
  }};
  return figures;
}

const std::array<std::pair<std::string_view, std::int64_t AllocatorStatistics::*>, 5>&
counts() noexcept {
  using S = AllocatorStatistics;
  static constexpr std::array<std::pair<std::string_view, std::int64_t S::*>, 5> counts{{
      {"num_alloc_retries", &S::num_alloc_retries},
      {"num_ooms", &S::num_ooms},
      {"num_sync_all_streams", &S::num_sync_all_streams},
      {"num_device_alloc", &S::num_device_alloc},
      {"num_device_free", &S::num_device_free},
  }};
  return counts;
}

}  // namespace polyrank
