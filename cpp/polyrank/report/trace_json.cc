#include <polyrank/report/json_text.h>
#include <polyrank/report/launch_json.h>
#include <polyrank/report/trace_json.h>

#include <map>
#include <string>
#include <vector>

namespace polyrank {

namespace {

using Groups = std::vector<const Group*>;

// The groups in the order of their first launch, and each launch's index there. A group that was
// made anew by the same name is one of its own if it has other members.
struct GroupIndex {
  explicit GroupIndex(const std::vector<TracedLaunch>& launches) {
    for (const TracedLaunch& traced : launches) {
      const Group& group = *traced.launch.group;
      const auto [entry, is_new] =
          by_content.try_emplace({group.name(), group.ranks().to_string()}, groups.size());
      if (is_new) {
        groups.push_back(&group);
      }
      of_launch.push_back(entry->second);
    }
  }

  std::map<std::pair<std::string, std::string>, std::size_t> by_content;
  Groups groups;
  std::vector<std::size_t> of_launch;
};

void write_groups(const Groups& groups, JsonText* json) {
  json->key("groups").begin_array();
  for (const Group* group : groups) {
    json->begin_object().key("name").value(group->name()).key("label").value(group->label());
    json->key("size").value(group->size()).key("num_groups").value(group->num_groups());
    json->key("ranks").value(group->ranks().to_string()).end_object();
  }
  json->end_array();
}

void write_wait(const TracedLaunch& traced, std::int64_t start_ns, JsonText* json) {
  json->key("waited");
  if (!traced.wait) {
    json->null();
    return;
  }
  json->begin_object().key("us").microseconds(traced.wait->time_ns - start_ns);
  json->key("file").value(traced.wait->source.file).key("line").value(traced.wait->source.line);
  json->end_object();
}

}  // namespace

std::string to_json(const CollectiveTrace& trace) {
  const std::vector<TracedLaunch> launches = trace.launches();
  const GroupIndex index(launches);
  JsonText json;
  json.begin_object().key("schema_version").value(kTraceSchemaVersion);
  write_groups(index.groups, &json);
  json.key("launches").begin_array();
  for (std::size_t i = 0; i < launches.size(); ++i) {
    const TracedLaunch& traced = launches[i];
    json.begin_object().key("group").value(index.of_launch[i]);
    write_launch_fields(traced, &json);
    json.key("start_us").microseconds(traced.launch.start_ns - trace.start_ns());
    json.key("end_us").microseconds(traced.end_ns - trace.start_ns());
    write_wait(traced, trace.start_ns(), &json);
    json.end_object();
  }
  json.end_array().end_object();
  return json.text();
}

}  // namespace polyrank
