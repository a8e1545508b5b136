#include <polyrank/core/str_cat.h>
#include <polyrank/report/json_text.h>
#include <polyrank/timeline/timeline_trace.h>

#include <array>
#include <cstddef>
#include <map>
#include <string_view>

namespace polyrank {

namespace {

constexpr std::int64_t kHostRow = 0;

class Writer {
 public:
  Writer(const TracedRank& rank, std::int64_t* num_arrows, JsonText* json)
      : timeline_(*rank.timeline), rank_(rank.rank), num_arrows_(num_arrows), json_(*json) {}

  void write() {
    name("process_name", kHostRow, str_cat("rank ", rank_));
    name("thread_name", kHostRow, "CPU");
    name_streams();
    for (const Work& work : timeline_.works()) {
      write_launch(work);
      write_work(work);
    }
    for (const HostWait& wait : timeline_.host_waits()) {
      begin("X", "wait", kHostRow, wait.start);
      json_.key("dur").microseconds(wait.end - wait.start).key("args").begin_object();
      if (wait.work != Bound::kHost) {
        const auto number = static_cast<std::size_t>(wait.work);
        json_.key("for").value(timeline_.works()[number].facts.name);
      }
      json_.end_object().end_object();
    }
    for (std::size_t step = 0; step < timeline_.step_ends().size(); ++step) {
      begin("i", str_cat("end of step ", step + 1), kHostRow, timeline_.step_ends()[step].time);
      json_.key("s").value("p").end_object();
    }
  }

 private:
  // Rows in the order in which streams were used; the CPU's is the first.
  void name_streams() {
    for (const Work& work : timeline_.works()) {
      const auto row = static_cast<std::int64_t>(rows_.size()) + 1;
      if (rows_.emplace(work.stream, row).second) {
        name("thread_name", row, str_cat("stream ", work.stream));
      }
    }
  }

  void name(std::string_view what, std::int64_t row, std::string_view text) {
    json_.begin_object().key("ph").value("M").key("name").value(what);
    json_.key("pid").value(rank_).key("tid").value(row);
    json_.key("args").begin_object().key("name").value(text).end_object().end_object();
  }

  // Opens an event; its last fields and its end are the caller's.
  void begin(std::string_view phase, std::string_view text, std::int64_t row, std::int64_t time) {
    json_.begin_object().key("ph").value(phase).key("name").value(text);
    json_.key("pid").value(rank_).key("tid").value(row).key("ts").microseconds(time);
  }

  void write_launch(const Work& work) {
    if (work.launch_start < work.launch_end) {
      begin("X", work.facts.name, kHostRow, work.launch_start);
      json_.key("dur").microseconds(work.launch_end - work.launch_start).end_object();
    }
  }

  void write_work(const Work& work) {
    const WorkFacts& facts = work.facts;
    const std::int64_t row = rows_.at(work.stream);
    begin("X", facts.name, row, work.start);
    json_.key("dur").microseconds(work.end - work.start).key("args").begin_object();
    json_.key("module").value(facts.module).key("is_backward").value(facts.is_backward);
    if (facts.kind == WorkKind::kCommunication) {
      json_.key("group").value(facts.group);
    }
    if (work.waited > 0) {
      json_.key("waited_for").value(str_cat("rank ", work.late_rank));
      json_.key("waited_us").microseconds(work.waited);
    }
    if (!facts.detail.empty()) {
      json_.key("how").value(facts.detail);
    }
    json_.key("flops").value(static_cast<std::int64_t>(facts.flops));
    json_.key("bytes").value(static_cast<std::int64_t>(facts.bytes));
    json_.end_object().end_object();
    if (work.launch_end < work.start && work.launch_start < work.launch_end) {
      begin("s", "launch", kHostRow, work.launch_start);
      json_.key("id").value(*num_arrows_).end_object();
      begin("f", "launch", row, work.start);
      json_.key("bp").value("e").key("id").value((*num_arrows_)++).end_object();
    }
  }

  const Timeline& timeline_;
  std::int64_t rank_;
  std::map<TimelineStream, std::int64_t> rows_;
  std::int64_t* num_arrows_;  // of all ranks
  JsonText& json_;
};

}  // namespace

std::string to_chrome_trace(std::span<const TracedRank> ranks) {
  JsonText json;
  std::int64_t num_arrows = 0;
  json.begin_object().key("displayTimeUnit").value("ms").key("traceEvents").begin_array();
  for (const TracedRank& rank : ranks) {
    Writer(rank, &num_arrows, &json).write();
  }
  json.end_array().end_object();
  return json.text();
}

std::string to_chrome_trace(const Timeline& timeline, std::int64_t rank) {
  return to_chrome_trace(std::array{TracedRank{.rank = rank, .timeline = &timeline}});
}

}  // namespace polyrank
