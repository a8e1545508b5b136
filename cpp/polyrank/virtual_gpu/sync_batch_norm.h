// The kernels of torch.nn.SyncBatchNorm, which PyTorch has for GPUs alone.
#pragma once

namespace polyrank {

// NOTE [Kernels that the CPU lacks]
// An operator on a virtual GPU runs the CPU's kernel. SyncBatchNorm's six have none, so they are
// made of PyTorch's operators here: the same sums over each channel as ATen's Normalization.cuh, in
// another order. Memory and time that are told of them are those of these operators.

// Registers the kernels. Later calls do nothing.
void place_sync_batch_norm();

}  // namespace polyrank
