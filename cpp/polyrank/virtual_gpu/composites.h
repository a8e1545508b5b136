// Operators that PyTorch takes apart by where their operands live.
#pragma once

namespace polyrank {

// NOTE [Composites that ask for the device]
// Most operators that PyTorch makes of others are made the same way on every device. A few look
// first (attention, dropout, recurrent networks: on CUDA they take kernels that the CPU lacks).
// These run as a whole on tensors of the CPU over the operands' bytes, gradients included, so that
// they are made as on the CPU. Crossing over is an operator of its own with an identity for its
// gradient, so that it also works on tensors that stand for others. Tensors that handle operators
// themselves (DTensor) must see the parts, and get those of CUDA. So do tensors without bytes,
// whose memory and time are to be CUDA's; attention is chosen as in attention.h.

// Registers their kernels. Later calls do nothing.
void place_gpu_composites();

}  // namespace polyrank
