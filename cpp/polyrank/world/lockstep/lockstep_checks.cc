#include <polyrank/core/rank_set.h>
#include <polyrank/core/str_cat.h>
#include <polyrank/engine/local_int_node.h>
#include <polyrank/engine/local_tensor_impl.h>
#include <polyrank/exchange/call_checks.h>
#include <polyrank/exchange/rank_operand.h>
#include <polyrank/matching/standstill.h>
#include <polyrank/report/call_site.h>
#include <polyrank/report/collective_record.h>
#include <polyrank/world/lockstep/lockstep_checks.h>
#include <polyrank/world/meeting_exchange.h>

#include <algorithm>
#include <exception>
#include <memory>
#include <string>
#include <vector>

namespace polyrank {

namespace {

using Numbers = std::vector<c10::SymInt>;

bool have_one_shape(const std::vector<at::Tensor>& tensors) {
  return std::ranges::all_of(tensors, [](const at::Tensor& tensor) {
    const LocalTensorImpl* impl = LocalTensorImpl::from(tensor);
    return impl == nullptr || impl->has_uniform_geometry();
  });
}

bool has_symbolic_sizes(const CollectiveCall& call) {
  return std::ranges::any_of(call.tensors(), [](const at::Tensor& tensor) {
    return tensor.unsafeGetTensorImpl()->has_symbolic_sizes_strides();
  });
}

bool differ(const Numbers& numbers) {
  return std::ranges::any_of(
      numbers, [](const c10::SymInt& number) { return as_local_int(number) != nullptr; });
}

// One launch, as each of its ranks makes it.
class Checker {
 public:
  Checker(const CollectiveCall& call, const Group& group)
      : call_(call), group_(group), ranks_(ranks_of_launch(call.tensors())) {}

  void run() const {
    if (have_one_shape(call_.tensors()) && !differ(call_.input_split_sizes) &&
        !differ(call_.output_split_sizes) && !differ(call_.peers)) {
      check_call(call_, caller(0));
      return;
    }
    const std::string where = source_line_text();
    for (std::int64_t group = 0; group < group_.family().num_groups(); ++group) {
      check_group(group, where);
    }
  }

 private:
  Caller caller(std::int64_t group) const {
    return {.group_size = group_.family().group_size(),
            .describe =
                [this, group](std::int64_t group_rank) {
                  const auto members = group_.family().members(group);
                  return str_cat("group \"", group_.label(), "\" (ranks ",
                                 RankSet::of(members).to_string(), "), rank ",
                                 members[static_cast<std::size_t>(group_rank)]);
                },
            .all_give_lists = true};
  }

  bool takes_part(std::int64_t rank) const {
    return ranks_.contains(rank) && call_.only_rank.value_or(rank) == rank;
  }

  void check_group(std::int64_t group, const std::string& where) const {
    const auto members = group_.family().members(group);
    Caller of_rank = caller(group);
    Meeting meeting;
    meeting.participants.assign(members.begin(), members.end());
    meeting.launches.resize(meeting.participants.size());
    for (std::size_t place = 0; place < meeting.participants.size(); ++place) {
      const std::int64_t rank = meeting.participants[place];
      if (!takes_part(rank)) {
        continue;
      }
      const CollectiveCall own = on_rank(rank);
      of_rank.group_rank = static_cast<std::int64_t>(place);
      check_call(own, of_rank);
      if (own.peers.empty() && !has_symbolic_sizes(own)) {
        meeting.launches[place] = launch_of(own, where);
      }
    }
    check_agreement(&meeting);
  }

  void check_agreement(Meeting* meeting) const {
    const auto has_come = [](const auto& launch) { return launch.has_value(); };
    if (std::ranges::none_of(meeting->launches, has_come)) {
      return;
    }
    meeting->group =
        std::make_shared<const MeetingGroup>(MeetingGroup{group_.label(), meeting->participants});
    meeting->sequence = collective_record().next_sequence(group_);
    if (const std::exception_ptr mismatch = explain_mismatch(*meeting)) {
      std::rethrow_exception(mismatch);
    }
  }

  Numbers on_rank(const Numbers& numbers, std::int64_t rank) const {
    Numbers own;
    own.reserve(numbers.size());
    for (const c10::SymInt& number : numbers) {
      const LocalIntNode* node = as_local_int(number);
      if (node == nullptr || node->partition().ranks().contains(rank)) {
        own.emplace_back(number_on_rank(number, rank));
      }
    }
    return own;
  }

  CollectiveCall on_rank(std::int64_t rank) const {
    CollectiveCall own = call_;
    for (CollectiveUnit& unit : own.units) {
      for (auto* tensors : {&unit.inputs, &unit.outputs}) {
        for (at::Tensor& tensor : *tensors) {
          tensor = RankOperand(tensor, ranks_).on_rank(rank);
        }
      }
    }
    own.input_split_sizes = on_rank(call_.input_split_sizes, rank);
    own.output_split_sizes = on_rank(call_.output_split_sizes, rank);
    own.peers = on_rank(call_.peers, rank);  // a rank without a peer takes no part
    return own;
  }

  const CollectiveCall& call_;
  const Group& group_;
  RankSet ranks_;
};

}  // namespace

void check_members(const CollectiveCall& call, const Group& group) { Checker(call, group).run(); }

}  // namespace polyrank
