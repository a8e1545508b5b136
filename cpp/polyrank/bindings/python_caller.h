// Which Python frame asks a question about rank-dependent numbers.
#pragma once

#include <polyrank/engine/number_hooks.h>

#include <string>
#include <vector>

namespace polyrank {

// NOTE [Who asks]
// `a == b` on torch.SymInts runs methods that PyTorch defines in fx/experimental/sym_node.py and in
// its __init__.py, and these call the node. So:
// - the innermost Python frame is not in sym_node.py: C++ asks (an operator that compares sizes),
// or
//   somebody calls a node's method. That is NumberCaller::kTorch.
// - else the first frame outside those two files is who wrote `a == b`: NumberCaller::kUser. Parts
//   of torch that choose a way for all ranks are NumberCaller::kTorch; set_acting_files() says
//   which do not. Code that was generated at run time (a dataclass's `__eq__`) belongs to the
//   module whose globals it runs in.
//
// Thread rule: any thread, with or without the GIL. A thread that never ran Python has no frame.
NumberCaller python_caller();

// Names folders and files of torch that act by the rank that they ask for, which of what is in them
// do not, and which of these do after all. Thread rule: with the GIL, before ranks' numbers are
// asked about.
void set_acting_files(std::vector<std::string> acting, std::vector<std::string> omit,
                      std::vector<std::string> keep);

}  // namespace polyrank
