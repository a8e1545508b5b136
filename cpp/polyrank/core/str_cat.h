// Builds messages.
#pragma once

#include <sstream>
#include <string>

namespace polyrank {

// The parts as one string, each as its stream operator writes it.
template <class... Parts>
std::string str_cat(const Parts&... parts) {
  std::ostringstream out;
  (out << ... << parts);
  return out.str();
}

}  // namespace polyrank
