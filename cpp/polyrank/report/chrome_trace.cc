#include <polyrank/report/json_text.h>
#include <polyrank/report/launch_json.h>
#include <polyrank/report/trace_json.h>

#include <algorithm>
#include <string_view>
#include <unordered_set>
#include <vector>

namespace polyrank {

namespace {

// The coarsest sets of ranks of which each launch's ranks are a union.
std::vector<RankSet> rows_of(const std::vector<TracedLaunch>& launches) {
  std::vector<RankSet> rows;
  std::unordered_set<RankSet> seen;
  for (const TracedLaunch& traced : launches) {
    RankSet rest = traced.launch.cohorts.ranks();
    if (!seen.insert(rest).second) {
      continue;
    }
    std::vector<RankSet> finer;
    for (const RankSet& row : rows) {
      for (RankSet& part : std::vector{row.intersect(rest), row.subtract(rest)}) {
        if (!part.empty()) {
          finer.push_back(std::move(part));
        }
      }
      rest = rest.subtract(row);
    }
    if (!rest.empty()) {
      finer.push_back(rest);
    }
    rows = std::move(finer);
  }
  std::sort(rows.begin(), rows.end(),
            [](const RankSet& a, const RankSet& b) { return a.min() < b.min(); });
  return rows;
}

void write_row_names(const std::vector<RankSet>& rows, JsonText* json) {
  for (std::size_t row = 0; row < rows.size(); ++row) {
    const std::string name = (rows[row].size() == 1 ? "rank " : "ranks ") + rows[row].to_string();
    json->begin_object().key("ph").value("M").key("name").value("thread_name");
    json->key("pid").value(0).key("tid").value(row);
    json->key("args").begin_object().key("name").value(name).end_object().end_object();
  }
}

// Opens an event; its last fields and its end are the caller's.
void begin_event(std::string_view phase, std::string_view name, std::size_t row,
                 std::int64_t time_ns, JsonText* json) {
  json->begin_object().key("ph").value(phase).key("name").value(name);
  json->key("cat").value("collective").key("pid").value(0).key("tid").value(row);
  json->key("ts").microseconds(time_ns);
}

void write_group(const Group& group, JsonText* json) {
  json->key("group").value(group.label()).key("group_name").value(group.name());
  json->key("group_size").value(group.size()).key("group_ranks").value(group.ranks().to_string());
}

void write_launch(const TracedLaunch& traced, std::size_t row, std::int64_t start_ns,
                  JsonText* json) {
  const CollectiveLaunch& launch = traced.launch;
  begin_event("X", to_string(launch.kind), row, launch.start_ns - start_ns, json);
  json->key("dur").microseconds(traced.end_ns - launch.start_ns);
  json->key("args").begin_object();
  write_group(*launch.group, json);
  write_launch_fields(traced, json);
  json->end_object().end_object();
}

// An arrow from the launch to the wait; viewers tie its ends to the events there.
void write_wait(const TracedLaunch& traced, std::size_t row, std::size_t flow,
                std::int64_t start_ns, JsonText* json) {
  const LaunchWait& wait = traced.wait.value();
  begin_event("X", "wait", row, wait.time_ns - start_ns, json);
  json->key("dur").microseconds(0).key("args").begin_object();
  json->key("for").value(to_string(traced.launch.kind));
  json->key("file").value(wait.source.file).key("line").value(wait.source.line);
  json->end_object().end_object();
  begin_event("s", "wait", row, traced.launch.start_ns - start_ns, json);
  json->key("id").value(flow).end_object();
  begin_event("f", "wait", row, wait.time_ns - start_ns, json);
  json->key("bp").value("e").key("id").value(flow).end_object();
}

}  // namespace

std::string to_chrome_trace(const CollectiveTrace& trace) {
  const std::vector<TracedLaunch> launches = trace.launches();
  const std::vector<RankSet> rows = rows_of(launches);
  std::size_t num_flows = 0;
  JsonText json;
  json.begin_object().key("displayTimeUnit").value("ms").key("traceEvents").begin_array();
  write_row_names(rows, &json);
  for (const TracedLaunch& traced : launches) {
    for (std::size_t row = 0; row < rows.size(); ++row) {
      if (traced.launch.cohorts.ranks().contains(rows[row].min())) {
        write_launch(traced, row, trace.start_ns(), &json);
        if (traced.wait) {
          write_wait(traced, row, num_flows++, trace.start_ns(), &json);
        }
      }
    }
  }
  json.end_array().end_object();
  return json.text();
}

}  // namespace polyrank
