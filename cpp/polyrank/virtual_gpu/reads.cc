#include <c10/core/ScalarType.h>
#include <polyrank/core/errors.h>
#include <polyrank/core/str_cat.h>
#include <polyrank/report/call_site.h>
#include <polyrank/virtual_gpu/reads.h>

#include <algorithm>
#include <mutex>
#include <utility>

namespace polyrank {

namespace {

struct Reads {
  std::mutex mutex;
  std::vector<DataRead> reads;  // guarded by mutex, as is the rest
  OnRead on_read = OnRead::kAssume;
  OnLoop on_loop;
};

Reads& kept_reads() {
  static auto* reads = new Reads();  // threads may read at exit
  return *reads;
}

}  // namespace

c10::Scalar stand_in(at::ScalarType dtype) {
  if (dtype == at::kBool) {
    return false;
  }
  return c10::isIntegralType(dtype, /*includeBool=*/false) ? c10::Scalar(1) : c10::Scalar(1.0);
}

void note_read(const std::string& operation, const std::string& assumed) {
  const std::string line = source_line_text();
  Reads& kept = kept_reads();
  std::unique_lock<std::mutex> lock(kept.mutex);
  if (kept.on_read == OnRead::kRefuse) {
    throw UnsupportedOpError(str_cat(
        operation, line.empty() ? "" : " at ", line,
        " reads data of a virtual GPU that has none. Leave the read out, or let it be assumed: ",
        assumed, " (--on-read assume)."));
  }
  const auto known = std::find_if(kept.reads.begin(), kept.reads.end(), [&](const DataRead& read) {
    return read.line == line && read.operation == operation && read.assumed == assumed;
  });
  if (known == kept.reads.end()) {
    kept.reads.push_back({.line = line, .operation = operation, .assumed = assumed, .count = 1});
    return;
  }
  ++known->count;
  if (known->count == kReadsOfLoop && kept.on_loop) {
    const auto tell = [read = *known, on_loop = kept.on_loop] { on_loop(read); };
    lock.unlock();  // it may wait for the interpreter, whose holder may read
    tell();
  }
}

std::vector<DataRead> data_reads() {
  Reads& kept = kept_reads();
  const std::lock_guard<std::mutex> lock(kept.mutex);
  return kept.reads;
}

void clear_reads(OnRead on_read, OnLoop on_loop) {
  Reads& kept = kept_reads();
  const std::lock_guard<std::mutex> lock(kept.mutex);
  kept.reads.clear();
  kept.on_read = on_read;
  kept.on_loop = std::move(on_loop);
}

}  // namespace polyrank
