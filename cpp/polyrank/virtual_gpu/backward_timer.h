// The clock that DistributedDataParallel measures its phases with.
#pragma once

namespace polyrank {

// Registers one for models on a virtual GPU: work is done when it is launched, so times are the
// host's, as for models on the CPU. A PyTorch without CUDA has none there, and DDP asserts that.
// Later calls do nothing.
void place_gpu_timer();

}  // namespace polyrank
