// A process group that is a name, and runs nothing.
#pragma once

#include <string>
#include <torch/csrc/distributed/c10d/ProcessGroup.hpp>
#include <utility>

namespace polyrank {

class NamedTestGroup final : public c10d::ProcessGroup {
 public:
  NamedTestGroup(std::string name, int rank, int size)
      : c10d::ProcessGroup(rank, size), name_(std::move(name)) {}
  const std::string& getGroupName() const override { return name_; }

 private:
  std::string name_;
};

inline c10::intrusive_ptr<c10d::ProcessGroup> named_group(int rank, int size) {
  return c10::make_intrusive<NamedTestGroup>("a group of tests", rank, size);
}

}  // namespace polyrank
