#include <ATen/Functions.h>
#include <gtest/gtest.h>
#include <polyrank/virtual_gpu/call_links.h>

namespace polyrank {
namespace {

// The first of four ranks on two nodes.
MemberNodes members() {
  return {.group = {.ranks = 4, .nodes = 2}, .own = 0, .is_other_node = {false, false, true, true}};
}

at::Tensor rows(std::int64_t number) { return at::empty({number, 25}); }  // of 100 bytes

ByLink bytes_of(const CollectiveCall& call) { return message_bytes(call, members(), 4000); }

CollectiveCall call_of(const CollectiveSpec& spec, std::vector<CollectiveUnit> units) {
  CollectiveCall call;
  call.spec = &spec;
  call.units = std::move(units);
  return call;
}

const CollectiveSpec kAllToAll{.op_name = "test", .kind = CollectiveKind::kAllToAll};

TEST(MessageBytes, OfAnEvenAllToAllAreASharePerPeer) {
  const ByLink expected{1000, 1000, 2000, 2000};
  EXPECT_EQ(bytes_of(call_of(kAllToAll, {{.inputs = {rows(40)}, .outputs = {rows(40)}}})),
            expected);
  EXPECT_EQ(bytes_of(call_of(kAllToAll, {{.inputs = {rows(40)}, .outputs = {}}})), expected);
}

TEST(MessageBytes, OfAnUnevenAllToAllAreWhatTheSplitsSay) {
  CollectiveCall call = call_of(kAllToAll, {{.inputs = {rows(10)}, .outputs = {rows(6)}}});
  call.input_split_sizes = {1, 2, 3, 4};   // its own row goes nowhere
  call.output_split_sizes = {3, 0, 1, 2};  // nor do its three
  EXPECT_EQ(bytes_of(call), (ByLink{200, 0, 700, 300}));
  call.units.front().outputs.clear();  // of functional operators
  EXPECT_EQ(bytes_of(call), (ByLink{200, 0, 700, 300}));
}

TEST(MessageBytes, ListsHaveATensorForEachPeer) {
  const CollectiveCall call =
      call_of(kAllToAll, {{.inputs = {rows(1), rows(2), rows(3), rows(4)},
                           .outputs = {rows(5), rows(6), rows(7), rows(8)}}});
  EXPECT_EQ(bytes_of(call), (ByLink{200, 600, 700, 1500}));
}

TEST(MessageBytes, AMessageGoesWhereItsPeerIs) {
  const CollectiveSpec send{.op_name = "test", .kind = CollectiveKind::kSend};
  const CollectiveSpec receive{.op_name = "test", .kind = CollectiveKind::kReceive};
  const auto message = [](const CollectiveSpec& spec, std::int64_t peer) {
    CollectiveCall call = call_of(spec, {{.inputs = {rows(10)}, .outputs = {}}});
    call.peers = {peer};
    return bytes_of(call);
  };
  EXPECT_EQ(message(send, 1), (ByLink{1000, 0, 0, 0}));
  EXPECT_EQ(message(send, 2), (ByLink{0, 0, 1000, 0}));
  EXPECT_EQ(message(receive, 1), (ByLink{0, 1000, 0, 0}));
  EXPECT_EQ(message(receive, -1), (ByLink{0, 0, 0, 1000}));  // from anyone
}

TEST(MessageBytes, ABatchAddsUp) {
  const CollectiveSpec batch{.op_name = "test", .kind = CollectiveKind::kSendReceive};
  CollectiveCall call = call_of(batch, {{.inputs = {rows(1)}, .outputs = {}},
                                        {.inputs = {rows(2)}, .outputs = {}},
                                        {.inputs = {rows(4)}, .outputs = {}}});
  call.peers = {1, 3, 3};
  call.is_send = {true, true, false};
  EXPECT_EQ(bytes_of(call), (ByLink{100, 0, 200, 400}));
}

}  // namespace
}  // namespace polyrank
