#include <polyrank/core/str_cat.h>
#include <polyrank/engine/local_number_text.h>

#include <array>
#include <charconv>
#include <cmath>

namespace polyrank {

namespace {

constexpr std::int32_t kMostCohorts = 16;   // shown in full
constexpr std::int32_t kFirstCohorts = 6;   // shown, where there are more, before the last
constexpr std::size_t kMostRankRanges = 4;  // of one cohort

const char* kind(const AnyNumber& number) {
  constexpr std::array<const char*, 3> kNames = {"LocalIntNode", "LocalFloatNode", "LocalBoolNode"};
  return kNames[number.index()];
}

// Writes cohorts as write(cohort) does, the middle of many left out.
template <typename Write>
std::string write_cohorts(std::int32_t num_cohorts, Write write) {
  std::string text;
  for (std::int32_t cohort = 0; cohort < num_cohorts; ++cohort) {
    if (num_cohorts > kMostCohorts && cohort == kFirstCohorts) {
      text += ", …";
      cohort = num_cohorts - 1;
    }
    text += cohort == 0 ? "" : ", ";
    text += write(cohort);
  }
  return text;
}

}  // namespace

std::string to_text(std::int64_t value) { return std::to_string(value); }

std::string to_text(double value) {
  if (std::isnan(value)) {
    return "nan";
  }
  const double size = std::abs(value);
  const bool is_fixed = size == 0 || (size >= 1e-4 && size < 1e16);  // Python's choice
  std::array<char, 64> buffer{};
  const auto [end, error] =
      std::to_chars(buffer.data(), buffer.data() + buffer.size(), value,
                    is_fixed ? std::chars_format::fixed : std::chars_format::scientific);
  static_cast<void>(error);  // the buffer holds any shortest form
  const std::string text(buffer.data(), end);
  const bool reads_as_int = text.find_first_not_of("-0123456789") == std::string::npos;
  return reads_as_int ? text + ".0" : text;
}

std::string to_text(bool value) { return value ? "True" : "False"; }

std::string ranks_text(const RankSet& ranks) {
  return str_cat(ranks.size() == 1 ? "rank " : "ranks ", ranks.to_string(kMostRankRanges));
}

std::string describe(const AnyNumber& number) {
  return std::visit(
      [](const auto& values) {
        const std::int32_t num_cohorts = values.partition().num_cohorts();
        const std::string text = write_cohorts(num_cohorts, [&values](std::int32_t cohort) {
          return str_cat(to_text(values.value(cohort)), " on ",
                         ranks_text(values.partition().cohort(cohort)));
        });
        return num_cohorts <= kMostCohorts ? text
                                           : str_cat(text, " (", num_cohorts, " different values)");
      },
      number);
}

std::string repr(const AnyNumber& number) {
  return std::visit(
      [&number](const auto& values) {
        if (values.is_uniform()) {
          return to_text(values.value(0));
        }
        const std::int32_t num_cohorts = values.partition().num_cohorts();
        const std::string text = write_cohorts(num_cohorts, [&values](std::int32_t cohort) {
          return str_cat(values.partition().cohort(cohort).to_string(kMostRankRanges), ": ",
                         to_text(values.value(cohort)));
        });
        return num_cohorts <= kMostCohorts
                   ? str_cat(kind(number), "({", text, "})")
                   : str_cat(kind(number), "({", text, "}, ", num_cohorts, " cohorts)");
      },
      number);
}

}  // namespace polyrank
