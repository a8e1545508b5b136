#include <polyrank/core/errors.h>
#include <polyrank/core/str_cat.h>
#include <polyrank/world/fake/fake_options.h>

#include <algorithm>
#include <array>

namespace polyrank {

namespace {

constexpr std::array<std::string_view, 3> kNames = {"mirror", "pytorch", "refuse"};

}  // namespace

FakeValues fake_values_from_name(std::string_view name) {
  const auto* const found = std::find(kNames.begin(), kNames.end(), name);
  if (found == kNames.end()) {
    throw UsageError(str_cat("a fake process group has no values \"", name,
                             R"("; there are "mirror", "pytorch" and "refuse".)"));
  }
  return static_cast<FakeValues>(found - kNames.begin());
}

std::string_view to_string(FakeValues values) noexcept {
  return kNames[static_cast<std::size_t>(values)];
}

}  // namespace polyrank
