#include <polyrank/core/str_cat.h>
#include <polyrank/report/json_text.h>

#include <string>

namespace polyrank {

JsonText& JsonText::microseconds(std::int64_t nanoseconds) {
  const std::string thousandths = std::to_string(1000 + nanoseconds % 1000);  // "1042" for 42
  return raw(str_cat(nanoseconds / 1000, ".", std::string_view(thousandths).substr(1)));
}

void JsonText::quote(std::string_view text) {
  constexpr std::string_view kHexDigits = "0123456789abcdef";
  text_ += '"';
  for (const char letter : text) {
    if (letter == '"' || letter == '\\') {
      text_ += '\\';
      text_ += letter;
    } else if (static_cast<unsigned char>(letter) < 0x20) {
      const auto code = static_cast<unsigned char>(letter);
      text_ += "\\u00";
      text_ += kHexDigits[code / 16U];
      text_ += kHexDigits[code % 16U];
    } else {
      text_ += letter;
    }
  }
  text_ += '"';
}

}  // namespace polyrank
