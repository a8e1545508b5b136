// What PyTorch has set for the process: flags and numbers of its C++ code.
#pragma once

#include <polyrank/core/export.h>

#include <cstdint>
#include <vector>

namespace polyrank {

// The settings at one moment: deterministic algorithms, precisions, backends and kernels that may
// be used, warnings, anomaly detection. The default dtype is not among them, of which a part is
// Python's, nor the number of threads, which each thread has.
//
// Thread rule: as PyTorch's own setters, by one thread at a time.
class POLYRANK_API TorchSettings {
 public:
  // Those that hold now.
  static TorchSettings present();

  // Let these hold. Calls the setters of those alone that differ from `leaving`, which hold now.
  void put(const TorchSettings& leaving) const;

  bool operator==(const TorchSettings&) const = default;

 private:
  std::vector<std::int64_t> values_;  // by row of the table in torch_settings.cc
};

}  // namespace polyrank
