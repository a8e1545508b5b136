#include <gtest/gtest.h>
#include <polyrank/report/json_text.h>

namespace polyrank {
namespace {

TEST(JsonText, PutsCommasWhereTheyBelong) {
  JsonText json;
  json.begin_object().key("ranks").value("0-3").key("sizes").begin_array().value(1).value(2);
  json.begin_array().end_array().end_array().key("root").null().key("async").value(true);
  json.end_object();
  EXPECT_EQ(json.text(), R"({"ranks": "0-3", "sizes": [1, 2, []], "root": null, "async": true})");
}

TEST(JsonText, EscapesStrings) {
  JsonText json;
  json.value("a\"b\\c\n\x01 µ");
  EXPECT_EQ(json.text(), "\"a\\\"b\\\\c\\u000a\\u0001 µ\"");
}

TEST(JsonText, WritesMicroseconds) {
  JsonText json;
  json.begin_array().microseconds(0).microseconds(1234567).microseconds(5).end_array();
  EXPECT_EQ(json.text(), "[0.000, 1234.567, 0.005]");
}

}  // namespace
}  // namespace polyrank
