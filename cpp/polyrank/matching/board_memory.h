// Where a board keeps what it knows.
#pragma once

#include <polyrank/core/export.h>

#include <cstddef>
#include <functional>
#include <map>
#include <memory>
#include <memory_resource>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace polyrank {

// NOTE [Memory of a board]
// A board of ranks that are threads lies in the heap. One of ranks that are processes lies in
// memory that they share, with everything that it points to: see NOTE [Shared arena]. So that both
// are one board, what it is made of takes its memory from the *board memory* of the calling thread:
// the heap, or what a BoardMemoryScope says. Each piece knows where it came from, so it may be
// freed anywhere. What is handed to a board within a scope must be made, or copied, within it: a
// move would bring a pointer along to memory of one process. The counters of std::shared_ptr are no
// exception to the board's lock: the standard library counts without atomic operations in a process
// of one thread.

class POLYRANK_API BoardMemoryScope {
 public:
  explicit BoardMemoryScope(std::pmr::memory_resource* memory) noexcept;
  ~BoardMemoryScope();
  BoardMemoryScope(const BoardMemoryScope&) = delete;
  BoardMemoryScope& operator=(const BoardMemoryScope&) = delete;

 private:
  std::pmr::memory_resource* before_;
};

// From the calling thread's board memory.
// Ensures: (1) aligned as operator new aligns.
POLYRANK_API void* allocate_board_memory(std::size_t num_bytes);
POLYRANK_API void free_board_memory(void* pointer) noexcept;

template <class T>
struct BoardAllocator {
  using value_type = T;

  BoardAllocator() = default;
  template <class U>
  // NOLINTNEXTLINE(*-explicit-*): as allocators are
  BoardAllocator(const BoardAllocator<U>& /*other*/) noexcept {}

  T* allocate(std::size_t count) {
    return static_cast<T*>(allocate_board_memory(count * sizeof(T)));
  }
  void deallocate(T* pointer, std::size_t /*count*/) noexcept {
    free_board_memory(static_cast<void*>(pointer));
  }

  template <class U>
  bool operator==(const BoardAllocator<U>& /*other*/) const noexcept {
    return true;
  }
};

template <class T, class... Arguments>
std::shared_ptr<T> make_board_shared(Arguments&&... arguments) {
  return std::allocate_shared<T>(BoardAllocator<T>{}, std::forward<Arguments>(arguments)...);
}

// A std::vector in board memory, made of one in the heap where need be.
template <class T>
class BoardList : public std::vector<T, BoardAllocator<T>> {
 public:
  using std::vector<T, BoardAllocator<T>>::vector;
  // NOLINTNEXTLINE(*-explicit-*): one of the heap is the same list
  BoardList(const std::vector<T>& other)
      : std::vector<T, BoardAllocator<T>>(other.begin(), other.end()) {}
};

template <class Key, class Value>
using BoardMap = std::map<Key, Value, std::less<>, BoardAllocator<std::pair<const Key, Value>>>;

// A std::string likewise.
class BoardText : public std::basic_string<char, std::char_traits<char>, BoardAllocator<char>> {
 public:
  using basic_string::basic_string;
  // NOLINTNEXTLINE(*-explicit-*): one of the heap is the same text
  BoardText(const std::string& text) : basic_string(text.begin(), text.end()) {}

  std::string str() const { return {begin(), end()}; }
};

}  // namespace polyrank
