#include <polyrank/virtual_gpu/call_links.h>

#include <algorithm>
#include <cstddef>

namespace polyrank {

namespace {

double bytes_of_row(const at::Tensor& tensor) {
  return static_cast<double>(tensor.nbytes()) /
         static_cast<double>(std::max<std::int64_t>(tensor.size(0), 1));
}

class Messages {
 public:
  explicit Messages(const MemberNodes& members) : members_(members) {}

  // A message to a member, or from one; not of the rank to itself, which is a copy.
  void add(bool is_sent, std::int64_t peer, double bytes) {
    if (peer == members_.own) {
      return;
    }
    const bool is_known = peer >= 0 && peer < members_.group.ranks;
    const bool crosses_nodes = is_known ? members_.is_other_node[static_cast<std::size_t>(peer)]
                                        : members_.group.nodes > 1;
    add_message(&bytes_, is_sent, crosses_nodes, bytes);
  }

  // One side of an all-to-all: a tensor for each member, or one in even or uneven pieces of rows.
  // `rows_of`: a tensor with rows of the same size.
  void add_all(bool is_sent, const std::vector<at::Tensor>& tensors,
               const std::vector<c10::SymInt>& splits, const at::Tensor& rows_of) {
    const std::int64_t size = members_.group.ranks;
    for (std::int64_t peer = 0; peer < size; ++peer) {
      const auto at = static_cast<std::size_t>(peer);
      if (std::ssize(tensors) == size) {
        add(is_sent, peer, static_cast<double>(tensors[at].nbytes()));
      } else if (std::ssize(splits) == size) {
        const auto rows = static_cast<double>(splits[at].guard_int(__FILE__, __LINE__));
        add(is_sent, peer, rows * bytes_of_row(rows_of));
      } else {
        const double whole =
            static_cast<double>(bytes_of(tensors.empty() ? std::vector{rows_of} : tensors));
        add(is_sent, peer, whole / static_cast<double>(size));
      }
    }
  }

  const ByLink& bytes() const noexcept { return bytes_; }

 private:
  const MemberNodes& members_;
  ByLink bytes_{};
};

void add_all_to_all(const CollectiveCall& call, Messages* messages) {
  for (const CollectiveUnit& unit : call.units) {
    if (unit.inputs.empty()) {
      continue;
    }
    const at::Tensor& input = unit.inputs.front();
    messages->add_all(/*is_sent=*/true, unit.inputs, call.input_split_sizes, input);
    messages->add_all(/*is_sent=*/false, unit.outputs, call.output_split_sizes,
                      unit.outputs.empty() ? input : unit.outputs.front());
  }
}

}  // namespace

std::int64_t bytes_of(const std::vector<at::Tensor>& tensors) {
  std::int64_t bytes = 0;
  for (const at::Tensor& tensor : tensors) {
    bytes += tensor.numel() * static_cast<std::int64_t>(tensor.element_size());
  }
  return bytes;
}

ByLink message_bytes(const CollectiveCall& call, const MemberNodes& members, double payload) {
  const CollectiveKind kind = call.spec->kind;
  if (kind == CollectiveKind::kGather || kind == CollectiveKind::kScatter) {
    return even_messages(members.group, payload);
  }
  Messages messages(members);
  if (kind == CollectiveKind::kAllToAll) {
    add_all_to_all(call, &messages);
    return messages.bytes();
  }
  constexpr std::int64_t kAnyone = -1;
  for (std::size_t i = 0; i < call.units.size(); ++i) {
    const CollectiveUnit& unit = call.units[i];
    const bool is_sent =
        i < call.is_send.size() ? bool{call.is_send[i]} : kind == CollectiveKind::kSend;
    const std::int64_t peer =
        i < call.peers.size() ? call.peers[i].guard_int(__FILE__, __LINE__) : kAnyone;
    const std::vector<at::Tensor>& tensors = unit.inputs.empty() ? unit.outputs : unit.inputs;
    messages.add(is_sent, peer, static_cast<double>(bytes_of(tensors)));
  }
  return messages.bytes();
}

}  // namespace polyrank
