// What runs an operator on tensors of a virtual GPU: the CPU's kernel, on the same bytes; or where
// there are no bytes the operator's shape function.
#pragma once

namespace polyrank {

// NOTE [The kernel at the CUDA key]
// Each operator of PyTorch that the CPU has a kernel for, and that is not merely made of others,
// gets a boxed kernel at the CUDA key. It gives the CPU's kernel tensors over the operands' bytes,
// "cpu" for a device, the CPU's generator with the same stream, and turns the results back:
//
//   an operand itself (in-place, out=)      -> that operand, with its new sizes
//   over the memory of an operand           -> a view of the operand's storage
//   new memory                              -> a new storage on the GPU that was asked for, or on
//                                              the operands'
//   "cpu" was asked for                     -> as it is
//
// So values are bit for bit the CPU's, by the CPU's own choices: also where a GPU would choose
// another algorithm (convolutions, attention). Operands on two GPUs, or on a GPU and the CPU, are
// the error that they are on a GPU; a number (0-dim) may be the CPU's, as there.

// Without bytes it is the same with "meta" for the CPU, and more operators have a kernel: all that
// have a shape function, also those that the CPU lacks.

// Puts the kernels there, as GPUs with or without bytes need them. Later calls do it for operators
// that were registered meanwhile.
void place_gpu_kernels(bool has_bytes);

}  // namespace polyrank
