#include <c10/core/DispatchKey.h>
#include <c10/util/Exception.h>
#include <polyrank/world/kernels_in_front.h>

#include <array>
#include <optional>
#include <string>
#include <utility>

namespace polyrank {

namespace {

// Where collectives have kernels. Others are reached through these.
constexpr std::array kKeys = {c10::DispatchKey::Python,     c10::DispatchKey::Meta,
                              c10::DispatchKey::CPU,        c10::DispatchKey::CUDA,
                              c10::DispatchKey::HPU,        c10::DispatchKey::XPU,
                              c10::DispatchKey::PrivateUse1};

// The dispatcher warns of each kernel that takes another's place; ours call the other.
class NoWarnings final : public c10::WarningHandler {
 public:
  void process(const c10::Warning& /*warning*/) override {}
};

}  // namespace

KernelsInFront::KernelsInFront(const Make& make) {
  NoWarnings no_warnings;
  const c10::WarningUtils::WarningHandlerGuard guard(&no_warnings);
  c10::Dispatcher& dispatcher = c10::Dispatcher::singleton();
  for (const CollectiveSpec& spec : collective_table()) {
    const auto op = dispatcher.findSchema({std::string(spec.op_name), ""});
    if (!op || spec.kind == CollectiveKind::kNotACollective) {
      continue;
    }
    for (const c10::DispatchKey key : kKeys) {
      // Below Python, kernels for all backends count as each one's.
      if (key == c10::DispatchKey::Python ? op->hasKernelForDispatchKey(key)
                                          : op->hasComputedKernelForDispatchKey(key)) {
        handles_.push_back(dispatcher.registerImpl(
            op->operator_name(), key, make(spec, op->getComputedKernelForDispatchKey(key)),
            std::nullopt, nullptr, "polyrank"));
      }
    }
  }
}

KernelsInFront::~KernelsInFront() {
  while (!handles_.empty()) {
    handles_.pop_back();
  }
}

}  // namespace polyrank
