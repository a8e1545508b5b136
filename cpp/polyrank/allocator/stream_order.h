// Which work on a GPU's streams the host knows to be done.
#pragma once

#include <polyrank/core/export.h>

#include <cstdint>
#include <map>

namespace polyrank {

using StreamNumber = std::int64_t;

// NOTE [What the host knows to be done]
// The host launches work and runs ahead of the GPU. Without a model of time, work counts as done
// when the host has waited for it: for its stream, for an event recorded after it, or for a stream
// that had waited for such an event. This is a vector clock, whose processes are the streams and
// the host. So what a stream may still use is kept as long as on a GPU that is behind the host,
// which is how training runs.

// How far each stream had come; streams that are not in it have done nothing.
using StreamMark = std::map<StreamNumber, std::int64_t>;

class POLYRANK_API StreamOrder {
 public:
  // Everything that was launched on `stream` and that it waited for.
  StreamMark record(StreamNumber stream);

  // What `stream` launches from now on comes after what `mark` holds.
  void wait(StreamNumber stream, const StreamMark& mark);

  // The host waits for what `mark` holds.
  void host_wait(const StreamMark& mark);

  // The host waits for all streams.
  void host_wait_for_all();

  // Ensures: (1) done once the host waited for a mark that holds a position of `stream` as late;
  //          (2) not done before.
  bool is_done(StreamNumber stream, std::int64_t position) const;

 private:
  StreamMark& known_to(StreamNumber stream) { return streams_[stream]; }

  std::map<StreamNumber, StreamMark> streams_;
  StreamMark host_;
};

}  // namespace polyrank
