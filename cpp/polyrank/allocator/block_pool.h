// Blocks of a GPU's memory, and those of them that are free, in order.
#pragma once

#include <polyrank/allocator/device_memory.h>
#include <polyrank/allocator/stream_order.h>
#include <polyrank/core/export.h>

#include <cstdint>
#include <deque>
#include <set>
#include <tuple>
#include <vector>

namespace polyrank {

class BlockPool;
class ExpandableSegment;

// NOTE [Blocks and segments]
// A segment is a piece of memory that the device gave out. Blocks tile it without gaps: they are a
// doubly linked list in the order of addresses. Invariants:
//   (1) neighbours touch: address + size is the next one's address;
//   (2) of two neighbours, at least one is in use, or one is mapped and the other is not;
//   (3) a block is in the pool's free() exactly if it is mapped and nobody uses it, in unmapped()
//       exactly if it is not mapped.

// A piece of a segment. Units: bytes.
struct Block {
  Address address = 0;
  std::int64_t size = 0;
  std::int64_t requested_size = 0;  // of the last request that it was given to
  StreamNumber stream = 0;          // that may use it again without waiting
  BlockPool* pool = nullptr;
  Block* previous = nullptr;
  Block* next = nullptr;
  ExpandableSegment* segment = nullptr;  // null: the segment is as it was made
  bool is_allocated = false;
  bool is_mapped = true;     // false: addresses of an expandable segment, without memory
  bool is_live = false;      // not given back to the store
  int pending = 0;           // streams that must be done before it can be free
  std::int64_t born_at = 0;  // the pool's count of searches when it became free
  std::vector<StreamNumber> used_by = {};  // other streams, by record_stream

  bool is_split() const noexcept { return previous != nullptr || next != nullptr; }
  bool is_in_use() const noexcept { return is_allocated || pending > 0 || !used_by.empty(); }
};

// Makes blocks and takes them back. Pointers stay valid until a block is taken back.
class POLYRANK_API BlockStore {
 public:
  Block* make(const Block& like);
  void take_back(Block* block);

  // All that were made and not taken back, in no order.
  std::vector<const Block*> live() const;

 private:
  std::deque<Block> blocks_;
  std::vector<Block*> spare_;
};

// What free blocks are sorted by: best fit is the first one that is not before the request.
struct BlockKey {
  StreamNumber stream;
  std::int64_t size;
  Address address;
};

struct BlocksBySize {
  using is_transparent = void;
  static std::tuple<StreamNumber, std::int64_t, Address> key(const Block* block) noexcept {
    return {block->stream, block->size, block->address};
  }
  static std::tuple<StreamNumber, std::int64_t, Address> key(const BlockKey& key) noexcept {
    return {key.stream, key.size, key.address};
  }
  template <class A, class B>
  bool operator()(const A& a, const B& b) const noexcept {
    return key(a) < key(b);
  }
};

struct BlocksByAddress {
  using is_transparent = void;
  static std::tuple<StreamNumber, Address> key(const Block* block) noexcept {
    return {block->stream, block->address};
  }
  static std::tuple<StreamNumber, Address> key(const BlockKey& key) noexcept {
    return {key.stream, key.address};
  }
  template <class A, class B>
  bool operator()(const A& a, const B& b) const noexcept {
    return key(a) < key(b);
  }
};

// The small or the large pool: its blocks that nobody uses.
class POLYRANK_API BlockPool {
 public:
  using Free = std::set<Block*, BlocksBySize>;
  using Unmapped = std::set<Block*, BlocksByAddress>;

  BlockPool(bool is_small, BlockStore* store) : is_small_(is_small), store_(store) {}

  bool is_small() const noexcept { return is_small_; }
  Free& free() noexcept { return free_; }
  const Free& free() const noexcept { return free_; }
  Unmapped& unmapped() noexcept { return unmapped_; }

  // Makes a mapped block that nobody uses one of free().
  void add(Block* block);

  // The first that is as large as the request, of its stream.
  Free::iterator best_fit(StreamNumber stream, std::int64_t size) {
    return free_.lower_bound(BlockKey{stream, size, 0});
  }

  // Cuts `size` bytes off the front of `block`, which is in no set, and returns them as a block of
  // their own, in no set either.
  Block* cut_front(Block* block, std::int64_t size);

  // Merges a neighbour into `block` if nobody uses it and it is mapped as `block` is.
  // Returns: the neighbour's bytes; 0 if it can't be merged, or there is none.
  std::int64_t merge(Block* block, Block* neighbour);

  // Searches so far; a free block's age is how many there were since it became free.
  std::int64_t num_searches() const noexcept { return num_searches_; }
  void count_search() noexcept { ++num_searches_; }

 private:
  bool is_small_;
  BlockStore* store_;
  Free free_;
  Unmapped unmapped_;
  std::int64_t num_searches_ = 0;
};

}  // namespace polyrank
