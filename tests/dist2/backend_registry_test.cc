#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <polyrank/core/errors.h>
#include <polyrank/dist2/backend_registry.h>

#include <torch/csrc/distributed/c10d/HashStore.hpp>

namespace polyrank::dist2 {
namespace {

using ::testing::HasSubstr;
using ::testing::ThrowsMessage;

ProcessGroup plain_group(const GroupRequest& request) {
  return c10::make_intrusive<c10d::ProcessGroup>(request.store, request.rank, request.world_size);
}

TEST(BackendRegistry, AFactoryIsFoundByItsName) {
  register_backend("registry_test", &plain_group);
  const ProcessGroup group = find_backend("registry_test")(
      {.store = c10::make_intrusive<c10d::HashStore>(), .rank = 2, .world_size = 5});
  EXPECT_EQ(group->getRank(), 2);
  EXPECT_EQ(group->getSize(), 5);
}

TEST(BackendRegistry, ANameIsTakenOnce) {
  for (const char* const name : {"fake", "gloo", "lockstep", "nccl", "threads"}) {
    EXPECT_THAT([&] { register_backend(name, &plain_group); },
                ThrowsMessage<UsageError>(HasSubstr("already registered")));
  }
}

TEST(BackendRegistry, ANameIsNotEmptyAndAFactoryMakesAGroup) {
  EXPECT_THAT([] { register_backend("", &plain_group); },
              ThrowsMessage<UsageError>(HasSubstr("empty name")));
  EXPECT_THAT([] { make_group("none", [](const GroupRequest&) { return ProcessGroup(); }, {}); },
              ThrowsMessage<UsageError>(HasSubstr("\"none\": its factory gave no process group")));
}

TEST(BackendRegistry, AnUnknownNameTellsTheOthers) {
  EXPECT_THAT([] { find_backend("none"); },
              ThrowsMessage<UsageError>(
                  HasSubstr("Backend none not registered; there are fake, gloo, lockstep, nccl")));
}

TEST(BackendRegistry, OptionsThatABackendHasNotAreNamed) {
  const GroupRequest request{.options = {{"known", 1}, {"other", 2}}};
  EXPECT_NO_THROW(check_options(request, "test", {"known", "other"}));
  EXPECT_THAT(
      [&] { check_options(request, "test", {"known"}); },
      ThrowsMessage<UnknownOptionError>(HasSubstr("Unknown option other of backend \"test\"; it "
                                                  "has known")));
  EXPECT_THAT([&] { check_options(request, "test", {}); },
              ThrowsMessage<UnknownOptionError>(HasSubstr("it has none")));
}

TEST(BackendRegistry, NcclIsRefusedUntilSomebodyHasIt) {
  const GroupRequest request{.store = c10::make_intrusive<c10d::HashStore>()};
  EXPECT_THAT([&] { find_backend("nccl")(request); },
              ThrowsMessage<UnsupportedOpError>(HasSubstr("has no NCCL")));
  set_nccl_factory(&plain_group);
  EXPECT_EQ(find_backend("nccl")(request)->getSize(), 1);
  set_nccl_factory({});
}

}  // namespace
}  // namespace polyrank::dist2
