#include <polyrank/report/json_text.h>

#include <array>
#include <cstdio>

namespace polyrank {

JsonText& JsonText::microseconds(std::int64_t nanoseconds) {
  std::array<char, 32> digits{};
  const int length = std::snprintf(digits.data(), digits.size(), "%lld.%03d",
                                   static_cast<long long>(nanoseconds / 1000),
                                   static_cast<int>(nanoseconds % 1000));
  return raw(std::string_view(digits.data(), static_cast<std::size_t>(length)));
}

void JsonText::quote(std::string_view text) {
  text_ += '"';
  for (const char letter : text) {
    if (letter == '"' || letter == '\\') {
      text_ += '\\';
      text_ += letter;
    } else if (static_cast<unsigned char>(letter) < 0x20) {
      std::array<char, 8> escaped{};
      std::snprintf(escaped.data(), escaped.size(), "\\u%04x", static_cast<unsigned>(letter));
      text_ += escaped.data();
    } else {
      text_ += letter;
    }
  }
  text_ += '"';
}

}  // namespace polyrank
