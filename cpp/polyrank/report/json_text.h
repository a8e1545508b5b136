// Writes JSON.
#pragma once

#include <concepts>
#include <cstdint>
#include <string>
#include <string_view>

namespace polyrank {

// Appends values one after the other; puts commas where they belong.
//
// Example: `json.begin_object().key("ranks").value("0-3").end_object()`
// Requires: calls nest as JSON does; this is not checked
class JsonText {
 public:
  JsonText& begin_object() { return begin('{'); }
  JsonText& end_object() { return end('}'); }
  JsonText& begin_array() { return begin('['); }
  JsonText& end_array() { return end(']'); }

  JsonText& key(std::string_view name) {
    separate();
    quote(name);
    text_ += ": ";
    needs_comma_ = false;
    return *this;
  }

  // Bytes that are not UTF-8 are kept as they are.
  JsonText& value(std::string_view text) {
    separate();
    quote(text);
    return *this;
  }
  JsonText& value(const char* text) { return value(std::string_view(text)); }
  JsonText& value(bool is_true) { return raw(is_true ? "true" : "false"); }
  template <std::integral Integer>
    requires(!std::same_as<Integer, bool>)
  JsonText& value(Integer number) {
    return raw(std::to_string(number));
  }
  JsonText& null() { return raw("null"); }

  // Nanoseconds as microseconds, to three digits.
  JsonText& microseconds(std::int64_t nanoseconds);

  const std::string& text() const noexcept { return text_; }

 private:
  JsonText& begin(char bracket) {
    separate();
    text_ += bracket;
    needs_comma_ = false;
    return *this;
  }
  JsonText& end(char bracket) {
    text_ += bracket;
    needs_comma_ = true;
    return *this;
  }
  JsonText& raw(std::string_view text) {
    separate();
    text_ += text;
    return *this;
  }
  void separate() {
    if (needs_comma_) {
      text_ += ", ";
    }
    needs_comma_ = true;
  }
  void quote(std::string_view text);

  std::string text_;
  bool needs_comma_ = false;
};

}  // namespace polyrank
