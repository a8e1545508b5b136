// Who launched what, who waits for whom: the state of a world whose ranks run on their own.
#pragma once

#include <polyrank/core/export.h>
#include <polyrank/matching/board_memory.h>
#include <polyrank/matching/fault.h>
#include <polyrank/matching/launch.h>

#include <atomic>
#include <cstdint>
#include <deque>
#include <exception>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <tuple>
#include <vector>

namespace polyrank {

// NOTE [Meetings]
// A *meeting* is what completes a launch: the collective number k of a group, to which each member
// comes once, or one message, to which its sender and its receiver come. Members come to the
// collectives of a group in the order in which they launch them, so counting is all the matching
// that collectives need. A message goes to the first receive of the destination, in the order in
// which receives were launched, that has its group and tag and names its sender or none.
// Whoever comes last carries the meeting out, for all who came; what that means for tensors is the
// caller's business: a payload is anything.
// A rank may also wait for an *event*, which is a meeting of its own that another rank declares
// done.
// A rank's program may start *threads*. They are numbered after the ranks, each of which is the
// number of its first thread; a thread waits by itself, and launches as its rank.

// The members of a process group, in its order.
struct MeetingGroup {
  BoardText name;
  BoardList<std::int64_t> members;  // global ranks
};

// Whether a meeting was carried out; a word that processes can sleep on.
class DoneWord {
 public:
  static constexpr std::uint32_t kOpen = 0;
  // Being carried out, in which who waits can take a part.
  static constexpr std::uint32_t kShared = 1;
  static constexpr std::uint32_t kDone = 2;
  static constexpr std::uint32_t kStopped = 3;  // the run has failed

  DoneWord() = default;
  ~DoneWord() = default;
  DoneWord(const DoneWord&) = delete;
  DoneWord& operator=(const DoneWord&) = delete;
  DoneWord(DoneWord&&) = delete;
  DoneWord& operator=(DoneWord&&) = delete;

  explicit operator bool() const noexcept { return value() == kDone; }
  std::uint32_t value() const noexcept { return word_.load(std::memory_order_acquire); }
  const std::atomic<std::uint32_t>& word() const noexcept { return word_; }

  void set(std::uint32_t value) noexcept { word_.store(value); }
  // Unless it is done.
  void stop() noexcept {
    std::uint32_t value = word_.load();
    while (value != kDone && !word_.compare_exchange_weak(value, kStopped)) {
    }
  }

 private:
  std::atomic<std::uint32_t> word_ = kOpen;
};

struct Meeting {
  static constexpr std::int64_t kAnyRank = -1;  // a sender that a receive does not name

  std::shared_ptr<const MeetingGroup> group;
  bool is_message = false;
  std::int64_t sequence = 0;  // of a collective: its index among the group's; of a message: its tag
  BoardList<std::int64_t> participants;       // global ranks; of a message: sender, receiver
  BoardList<std::optional<Launch>> launches;  // by participant; nothing: has not come
  BoardList<std::shared_ptr<void>> payloads;  // likewise
  std::int64_t num_arrived = 0;
  DoneWord is_done;
  std::exception_ptr error;  // why it failed, once it is done, where ranks are threads
  // Where ranks are processes: why it failed, what became of it, and how many participants need
  // nothing of it any more.
  std::optional<FaultKind> fault;
  BoardText fault_text;
  std::shared_ptr<void> outcome;
  std::int64_t num_left = 0;
  BoardList<std::int64_t> waiting;  // threads that have waited for it
  BoardText event;         // what must happen, where this is no launch: "key "x" in the store"
  bool is_notice = false;  // an event that a thread that is no rank's may bring about, too

  bool is_complete() const noexcept {
    return num_arrived == static_cast<std::int64_t>(participants.size());
  }
  // "all_reduce(sum) float32[4] (launch #3 of group "dp")" as `rank`, who has come, launched it;
  // the event, if it is one.
  std::string describe(std::int64_t rank) const;
  // The user's line of that launch, set off as at the end of a message: "  train.py:12"; empty if
  // nobody knows it.
  std::string where(std::int64_t rank) const;
  const Launch* launch_of(std::int64_t rank) const;  // null if the rank has not come
};

// What `rank` waits for that is no launch, until somebody declares it done. `event` reads on from
// "waits for": "key "x" in the store"; `where` is the line that waits.
POLYRANK_API std::shared_ptr<Meeting> new_event(std::int64_t rank, const std::string& event,
                                                const std::string& where);

enum class RankState : std::uint8_t { kRunning, kWaiting, kReturned, kFailed };

// How a wait may end other than by what a rank does.
enum class OtherEnd : std::uint8_t {
  kNone,
  kTimeout,
  kOutside  // perhaps by a thread that is no rank's: a lock
};

// What is known of one thread.
struct RankActivity {
  RankState state = RankState::kRunning;
  std::shared_ptr<const Meeting> waits_for{};  // while it waits
  OtherEnd other_end = OtherEnd::kNone;        // of the wait
  BoardText failure{};                         // why it failed
};

// No threads and no blocking in here, so that every order of events can be tried.
//
// Thread rule: none; the caller locks. What it keeps lies in board memory: NOTE [Memory of a
// board].
//
// Invariants: (1) a meeting is open until all its participants came, and is then forgotten here;
// (2) open meetings of a group have consecutive sequence numbers; (3) a receive is open only while
// no open message fits it.
class POLYRANK_API MatchBoard {
 public:
  explicit MatchBoard(std::int64_t world_size);

  std::int64_t world_size() const noexcept { return world_size_; }

  // The group of that name. Each member names it; the first one makes it. Groups of one rank, which
  // meet nobody, have a name of theirs: PyTorch numbers a rank's subgroups of its own group, so
  // that ranks of different groups give the same numbers. Throws: UsageError if a member is no rank
  // of the world, or repeated; CollectiveMismatchError if
  //         the group was made with other members.
  std::shared_ptr<const MeetingGroup> join_group(const std::string& name,
                                                 const std::vector<std::int64_t>& members);

  // The board's own object of the group that `like` names. Requires: it was joined
  const std::shared_ptr<const MeetingGroup>& known(const MeetingGroup& like) {
    return state_of(like).group;
  }
  // How many collectives the group's members have launched, if all of them have met.
  std::optional<std::int64_t> level(const MeetingGroup& group);
  // They have met in so many. Requires: level() is something
  void set_level(const MeetingGroup& group, std::int64_t num_met);

  // `rank` comes to the group's next collective.
  // Ensures: (1) the k-th call of each member comes to the same meeting
  // Throws: UsageError if the rank is no member.
  std::shared_ptr<Meeting> arrive(std::int64_t rank,
                                  const std::shared_ptr<const MeetingGroup>& group, Launch launch,
                                  std::shared_ptr<void> payload);

  // `rank` sends to, or receives from, the global rank `peer`; receives from any with kAnyRank.
  // Ensures: (1) messages of one sender with one tag are received in the order of sending
  // Throws: UsageError if either is no member of the group.
  std::shared_ptr<Meeting> send(std::int64_t rank, std::int64_t peer, std::int64_t tag,
                                const std::shared_ptr<const MeetingGroup>& group, Launch launch,
                                std::shared_ptr<void> payload);
  std::shared_ptr<Meeting> receive(std::int64_t rank, std::int64_t peer, std::int64_t tag,
                                   const std::shared_ptr<const MeetingGroup>& group, Launch launch,
                                   std::shared_ptr<void> payload);

  // Another thread of the rank's, until remove_thread(). Its number may have been another's.
  std::int64_t add_thread(std::int64_t rank);
  void remove_thread(std::int64_t thread);
  // Whose it is.
  std::int64_t rank_of(std::int64_t thread) const {
    return threads_[static_cast<std::size_t>(thread)].rank;
  }
  // The threads that the rank's program has started and that have not ended, in order.
  std::vector<std::int64_t> threads_of(std::int64_t rank) const;
  // All numbers are below.
  std::int64_t end_of_threads() const noexcept {
    return static_cast<std::int64_t>(threads_.size());
  }

  // What the threads do. A thread is running at the start.
  void set_running(std::int64_t thread);
  void set_waiting(std::int64_t thread, std::shared_ptr<const Meeting> meeting,
                   OtherEnd other_end = OtherEnd::kNone);
  void set_returned(std::int64_t thread);
  void set_failed(std::int64_t thread, std::string failure);
  // So many running threads more, or fewer, wait for what only ranks do, as the caller knows of
  // them.
  void count_waiting(std::int64_t change) noexcept {
    num_running_ -= change;
    num_waiting_ += change;
  }
  const RankActivity& activity(std::int64_t thread) const {
    return threads_[static_cast<std::size_t>(thread)].activity;
  }
  // Whether no thread runs and some wait, all of them for what only ranks do: nothing can happen
  // any more.
  bool is_stuck() const noexcept { return num_running_ == 0 && num_waiting_ > 0; }

  // Collectives that some members came to and others did not, and messages without a receive, in
  // an order that does not depend on who came first.
  std::vector<std::shared_ptr<const Meeting>> open_meetings() const;

 private:
  using Queue = std::deque<std::shared_ptr<Meeting>, BoardAllocator<std::shared_ptr<Meeting>>>;

  struct GroupState {
    std::shared_ptr<const MeetingGroup> group;
    BoardMap<std::int64_t, std::int64_t> member_of_rank;
    BoardList<std::int64_t> num_launched;  // by member
    Queue open;                            // by sequence number, from first_open
    std::int64_t first_open = 0;
  };
  // Sends and receives that wait for each other's like, in the order of launching.
  struct Mailbox {
    Queue sent;
    Queue wanted;
  };
  using MailboxKey = std::tuple<BoardText, std::int64_t, std::int64_t>;  // group, receiver, tag

  GroupState& state_of(const MeetingGroup& group);
  std::int64_t member_index(const GroupState& state, std::int64_t rank) const;
  void set_activity(std::int64_t thread, RankActivity activity);

  struct Thread {
    std::int64_t rank = 0;
    RankActivity activity{};
    bool has_ended = false;  // one that a rank's program had started
  };

  std::int64_t world_size_;
  BoardList<Thread> threads_;  // those of ranks first
  std::int64_t num_running_;   // or waiting for what may end otherwise
  std::int64_t num_waiting_ = 0;
  BoardMap<BoardText, BoardList<GroupState>> groups_;  // several of a name: of one rank each
  BoardMap<MailboxKey, Mailbox> mailboxes_;
};

}  // namespace polyrank
