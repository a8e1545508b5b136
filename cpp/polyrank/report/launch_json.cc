#include <polyrank/collective/cost_model.h>
#include <polyrank/report/launch_json.h>

namespace polyrank {

namespace {

void write_tensors(const std::vector<TensorRun>& runs, JsonText* json) {
  json->begin_array();
  for (const TensorRun& run : runs) {
    json->begin_object().key("dtype").value(run.dtype).key("shape").begin_array();
    for (const std::int64_t size : run.shape) {
      size == TensorRun::kDiffers ? json->null() : json->value(size);
    }
    json->end_array().key("count").value(run.count).key("bytes").value(run.nbytes).end_object();
  }
  json->end_array();
}

void write_root(const CollectiveLaunch& launch, JsonText* json) {
  json->key(has_root(launch.kind) || launch.root == CollectiveLaunch::kNone ? "root" : "peer");
  if (launch.root == CollectiveLaunch::kDiffers) {
    json->value("differs");
  } else if (launch.root == CollectiveLaunch::kNone) {
    json->null();
  } else {
    json->value(launch.root);
  }
}

void write_cost(const TracedLaunch& traced, JsonText* json) {
  json->key("input_bytes").value(traced.launch.input_bytes);
  json->key("payload_bytes").value(traced.payload_bytes());
  json->key("wire_bytes").value(traced.wire_bytes()).key("algorithm");
  const auto algorithm = usual_algorithm(traced.launch.kind);
  algorithm ? json->value(to_string(*algorithm)) : json->null();
}

void write_source(const SourceLine& source, JsonText* json) {
  json->key("source");
  if (source.file.empty()) {
    json->null();
  } else {
    json->begin_object().key("file").value(source.file).key("line").value(source.line);
    json->end_object();
  }
}

}  // namespace

void write_launch_fields(const TracedLaunch& traced, JsonText* json) {
  const CollectiveLaunch& launch = traced.launch;
  json->key("kind").value(to_string(launch.kind)).key("operator").value(launch.op_name);
  json->key("sequence").value(launch.sequence);
  json->key("ranks").value(launch.cohorts.ranks().to_string());
  json->key("num_cohorts").value(launch.cohorts.num_cohorts());
  json->key("num_groups").value(launch.num_groups).key("reduce_op");
  launch.reduce_op ? json->value(to_string(*launch.reduce_op)) : json->null();
  write_root(launch, json);
  json->key("tag").value(launch.tag);
  json->key("inputs");
  write_tensors(launch.inputs, json);
  json->key("outputs");
  write_tensors(launch.outputs, json);
  write_cost(traced, json);
  json->key("async").value(launch.is_async);
  write_source(traced.source, json);
  json->key("module").value(traced.place.path);
  json->key("phase").value(traced.place.is_backward ? "backward" : "forward");
}

}  // namespace polyrank
