// Where in the program a collective is launched or waited for.
#pragma once

#include <polyrank/core/export.h>

#include <string>
#include <string_view>

namespace polyrank {

// A line of the program. The file's name lives as long as the process.
struct SourceLine {
  std::string_view file;  // empty: not known
  int line = 0;
  bool operator==(const SourceLine&) const = default;
};

// Which part of the model runs.
struct ModulePlace {
  std::string_view path;  // "layers.0.attention"; empty: none. Lives as long as the process
  bool is_backward = false;
};

// Who can tell these of the calling thread. Layers above set them: the bindings know Python's
// frames, and the world layer autograd. Null: nobody can.
struct CallSiteFinders {
  SourceLine (*source_line)() = nullptr;
  ModulePlace (*module_place)() = nullptr;
  bool (*is_in_library)() = nullptr;
};

// The finders of this process. Set when the library is loaded, before a trace starts.
POLYRANK_API CallSiteFinders& call_site_finders() noexcept;

// "train.py:88"; empty if it is not known.
POLYRANK_API std::string text_of(const SourceLine& line);

// The calling thread's line as text; empty if nobody can tell.
POLYRANK_API std::string source_line_text();

// Whether PyTorch's own code launches for itself, as DistributedDataParallel does; false if nobody
// can tell.
POLYRANK_API bool is_launched_by_library();

}  // namespace polyrank
