#include <polyrank/core/errors.h>
#include <polyrank/core/str_cat.h>
#include <polyrank/group/group.h>

#include <utility>

namespace polyrank {

Group::Group(std::string name, std::string label, RankRuns ranks)
    : name_(std::move(name)),
      label_(std::move(label)),
      ranks_(std::move(ranks)),
      size_(ranks_.size()) {}

Group::Group(std::string name, std::string label, RankRuns ranks, GroupFamily family)
    : Group(std::move(name), std::move(label), std::move(ranks)) {
  family_ = std::move(family);
}

const GroupFamily& Group::family() const {
  if (!family_) {
    throw InternalError(str_cat("group \"", label_, "\" was asked for its family, and has none"));
  }
  return *family_;
}

}  // namespace polyrank
