#include <polyrank/core/str_cat.h>
#include <polyrank/world/launches_in_flight.h>

#include <algorithm>
#include <string_view>

namespace polyrank {

namespace {

// A program that never waits would keep all its tensors.
constexpr std::size_t kMaxKept = 100;

bool has_own_version(const at::Tensor& tensor) {
  return tensor.defined() && !tensor.is_inference() && !tensor.is_view();
}

std::string line_of(const Meeting& meeting, std::int64_t rank, std::string_view what) {
  return str_cat(meeting.describe(rank), what, meeting.where(rank));
}

}  // namespace

LaunchesInFlight::Id LaunchesInFlight::add(std::shared_ptr<const Meeting> meeting,
                                           const std::vector<at::Tensor>& tensors) {
  InFlight launch{.meeting = std::move(meeting), .versions = {}};
  for (const at::Tensor& tensor : tensors) {
    if (has_own_version(tensor)) {
      launch.versions.emplace_back(tensor, static_cast<std::uint32_t>(tensor._version()));
    }
  }
  const std::lock_guard lock(mutex_);
  const Id id = next_id_++;
  if (in_flight_.size() < kMaxKept) {
    in_flight_.emplace(id, std::move(launch));
  } else {
    ++num_not_kept_;  // until it is waited for
  }
  return id;
}

void LaunchesInFlight::waited(Id id) {
  const std::lock_guard lock(mutex_);
  const auto found = in_flight_.find(id);
  if (found == in_flight_.end()) {
    --num_not_kept_;
    return;
  }
  const auto& versions = found->second.versions;
  const bool is_written = std::any_of(versions.begin(), versions.end(), [](const auto& entry) {
    return static_cast<std::uint32_t>(entry.first._version()) != entry.second;
  });
  if (is_written && written_.size() < kMaxKept) {
    written_.push_back(found->second.meeting);
  }
  in_flight_.erase(found);
}

std::vector<std::string> LaunchesInFlight::findings(std::int64_t rank) const {
  const std::lock_guard lock(mutex_);
  std::vector<std::string> lines;
  lines.reserve(in_flight_.size() + written_.size() + 1);
  for (const auto& [id, launch] : in_flight_) {
    lines.push_back(line_of(*launch.meeting, rank, " was never waited for"));
  }
  if (num_not_kept_ > 0) {
    lines.push_back(str_cat(num_not_kept_, " more were never waited for"));
  }
  for (const auto& meeting : written_) {
    lines.push_back(line_of(*meeting, rank, ": its tensor was written before the wait"));
  }
  return lines;
}

}  // namespace polyrank
