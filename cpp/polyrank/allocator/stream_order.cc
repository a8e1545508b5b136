#include <polyrank/allocator/stream_order.h>

#include <algorithm>

namespace polyrank {

namespace {

void take_over(const StreamMark& from, StreamMark* into) {
  for (const auto& [stream, position] : from) {
    std::int64_t& known = (*into)[stream];
    known = std::max(known, position);
  }
}

}  // namespace

StreamMark StreamOrder::record(StreamNumber stream) {
  StreamMark& known = known_to(stream);
  ++known[stream];
  return known;
}

void StreamOrder::wait(StreamNumber stream, const StreamMark& mark) {
  take_over(mark, &known_to(stream));
}

void StreamOrder::host_wait(const StreamMark& mark) { take_over(mark, &host_); }

void StreamOrder::host_wait_for_all() {
  for (const auto& [stream, mark] : streams_) {
    take_over(mark, &host_);
  }
}

bool StreamOrder::is_done(StreamNumber stream, std::int64_t position) const {
  const auto known = host_.find(stream);
  return known != host_.end() && known->second >= position;
}

}  // namespace polyrank
