#include <polyrank/bindings/time_dicts.h>
#include <polyrank/core/errors.h>
#include <polyrank/core/interned.h>
#include <pybind11/stl.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>

namespace polyrank {

namespace py = pybind11;
using py::literals::operator""_a;

namespace {

py::dict dict_of(const SumsByText& sums) {
  py::dict dict;
  for (const auto& [text, sum] : sums) {
    dict[py::str(std::string(text))] = py::dict("count"_a = sum.count, "compute"_a = sum.compute,
                                                "communication"_a = sum.communication,
                                                "exposed"_a = sum.exposed, "flops"_a = sum.flops);
  }
  return dict;
}

class Texts {
 public:
  std::int64_t index_of(std::string_view text) {
    const auto [known, is_new] = indices_.emplace(text, std::ssize(texts_));
    if (is_new) {
      texts_.emplace_back(text);
    }
    return known->second;
  }
  const std::vector<std::string>& all() const noexcept { return texts_; }

 private:
  std::vector<std::string> texts_;
  std::map<std::string, std::int64_t, std::less<>> indices_;
};

template <typename T>
std::vector<T> column(const py::dict& columns, const char* name, std::size_t size) {
  auto values = columns[name].cast<std::vector<T>>();
  if (values.size() != size) {
    throw UsageError("columns of a recording differ in length");
  }
  return values;
}

std::vector<Work> works_of(const py::dict& columns) {
  const auto kinds = columns["kind"].cast<std::vector<std::int64_t>>();
  const std::size_t size = kinds.size();
  std::vector<std::string_view> texts;
  for (const auto& text : columns["texts"].cast<std::vector<std::string>>()) {
    texts.push_back(interned(text));
  }
  const auto names = column<std::size_t>(columns, "name", size);
  const auto modules = column<std::size_t>(columns, "module", size);
  const auto groups = column<std::size_t>(columns, "group", size);
  const auto details = column<std::size_t>(columns, "detail", size);
  const auto are_backward = column<std::int64_t>(columns, "is_backward", size);
  const auto flops = column<double>(columns, "flops", size);
  const auto recomputed_flops = column<double>(columns, "recomputed_flops", size);
  const auto bytes = column<double>(columns, "bytes", size);
  const auto rooflines = column<double>(columns, "roofline", size);
  const auto series = column<std::int64_t>(columns, "series_of", size);
  const auto streams = column<std::int64_t>(columns, "stream", size);
  const auto durations = column<std::int64_t>(columns, "duration", size);
  const auto slowed = column<std::int64_t>(columns, "slowed", size);
  const auto launch_times = column<std::int64_t>(columns, "launch_time", size);
  std::vector<Work> works(size);
  for (std::size_t i = 0; i < size; ++i) {
    works[i].facts = {.kind = static_cast<WorkKind>(kinds[i]),
                      .name = texts.at(names[i]),
                      .module = texts.at(modules[i]),
                      .group = texts.at(groups[i]),
                      .detail = texts.at(details[i]),
                      .is_backward = are_backward[i] != 0,
                      .flops = flops[i],
                      .recomputed_flops = recomputed_flops[i],
                      .bytes = bytes[i],
                      .roofline = rooflines[i],
                      .series = series[i]};
    works[i].stream = streams[i];
    works[i].end = durations[i];
    works[i].slowed = slowed[i];
    works[i].launch_end = launch_times[i];
  }
  return works;
}

void put_works(const std::vector<Work>& works, py::dict* columns) {
  Texts texts;
  const auto put = [&](const char* name, auto&& value_of) {
    py::list values(works.size());
    for (std::size_t i = 0; i < works.size(); ++i) {
      values[i] = value_of(works[i]);
    }
    (*columns)[name] = values;
  };
  put("kind", [](const Work& work) { return static_cast<std::int64_t>(work.facts.kind); });
  put("name", [&](const Work& work) { return texts.index_of(work.facts.name); });
  put("module", [&](const Work& work) { return texts.index_of(work.facts.module); });
  put("group", [&](const Work& work) { return texts.index_of(work.facts.group); });
  put("detail", [&](const Work& work) { return texts.index_of(work.facts.detail); });
  put("is_backward", [](const Work& work) { return work.facts.is_backward ? 1 : 0; });
  put("flops", [](const Work& work) { return work.facts.flops; });
  put("recomputed_flops", [](const Work& work) { return work.facts.recomputed_flops; });
  put("bytes", [](const Work& work) { return work.facts.bytes; });
  put("roofline", [](const Work& work) { return work.facts.roofline; });
  put("series_of", [](const Work& work) { return work.facts.series; });
  put("stream", [](const Work& work) { return work.stream; });
  put("duration", [](const Work& work) { return work.end - work.start; });
  put("slowed", [](const Work& work) { return work.slowed; });
  put("launch_time", [](const Work& work) { return work.launch_end - work.launch_start; });
  (*columns)["texts"] = texts.all();
}

}  // namespace

py::dict dict_of(const TimeReport& report) {
  py::list idle;
  for (const auto& [cause, time] : report.idle) {
    idle.append(py::dict("cause"_a = std::string(to_string(cause.first)),
                         "group"_a = std::string(cause.second), "time"_a = time));
  }
  return py::dict("start"_a = report.start, "end"_a = report.end, "compute"_a = report.compute,
                  "communication"_a = report.communication, "exposed"_a = report.exposed,
                  "slowed"_a = report.slowed, "host_busy"_a = report.host_busy,
                  "flops"_a = report.flops, "recomputed_flops"_a = report.recomputed_flops,
                  "roofline"_a = report.roofline, "idle"_a = idle,
                  "by_group"_a = dict_of(report.by_group),
                  "by_module"_a = dict_of(report.by_module), "by_name"_a = dict_of(report.by_name));
}

py::list list_of(const std::vector<TimeReport>& reports) {
  py::list all;
  for (const TimeReport& report : reports) {
    all.append(dict_of(report));
  }
  return all;
}

py::dict columns_of(const RankRecording& recording) {
  py::dict columns;
  columns["rank"] = recording.rank;
  put_works(recording.works, &columns);
  py::list actions(recording.commands.size());
  py::list streams(recording.commands.size());
  py::list numbers(recording.commands.size());
  for (std::size_t i = 0; i < recording.commands.size(); ++i) {
    const TimelineCommand& command = recording.commands[i];
    actions[i] = static_cast<std::int64_t>(command.action);
    streams[i] = command.stream;
    numbers[i] = command.number;
  }
  columns["actions"] = actions;
  columns["streams"] = streams;
  columns["numbers"] = numbers;
  py::list series;
  for (const MeetingSeries& one : recording.series) {
    series.append(py::dict("name"_a = one.name, "ranks"_a = one.ranks, "label"_a = one.label));
  }
  columns["series"] = series;
  return columns;
}

RankRecording recording_of(const py::dict& columns) {
  RankRecording recording{.rank = columns["rank"].cast<std::int64_t>(), .works = works_of(columns)};
  const auto actions = columns["actions"].cast<std::vector<std::int64_t>>();
  const auto streams = column<std::int64_t>(columns, "streams", actions.size());
  const auto numbers = column<std::int64_t>(columns, "numbers", actions.size());
  for (std::size_t i = 0; i < actions.size(); ++i) {
    recording.commands.push_back({.action = static_cast<TimelineAction>(actions[i]),
                                  .stream = streams[i],
                                  .number = numbers[i]});
  }
  for (const py::handle one : columns["series"]) {
    recording.series.push_back({.name = one["name"].cast<std::string>(),
                                .ranks = one["ranks"].cast<std::vector<std::int64_t>>(),
                                .label = one["label"].cast<std::string>()});
  }
  return recording;
}

}  // namespace polyrank
