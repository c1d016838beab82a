// Arena: the memory of one pass, handed out in order and given back all at once.
//
// Kept between passes, so that a steady state allocates nothing. Contents are not cleared.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <new>
#include <vector>

namespace baleen::training {

class Arena {
 public:
  /// Place in the arena; everything taken since can be given back together.
  struct Mark {
    size_t block = 0;
    size_t used = 0;
  };

  /// `count` numbers, aligned to a cache line. Borrows: until Release of an earlier mark.
  template <class N>
  N* Take(int64_t count) {
    const size_t bytes =
        (static_cast<size_t>(count) * sizeof(N) + kAlignment - 1) / kAlignment * kAlignment;
    while (current_ < blocks_.size() && used_ + bytes > blocks_[current_].size) {
      ++current_;
      used_ = 0;
    }
    if (current_ == blocks_.size()) Grow(bytes);
    std::byte* at = blocks_[current_].memory.get() + used_;
    used_ += bytes;
    return reinterpret_cast<N*>(at);
  }
  template <class N>
  N* TakeZeros(int64_t count) {
    N* memory = Take<N>(count);
    std::fill_n(memory, count, N(0));
    return memory;
  }

  Mark mark() const { return {current_, used_}; }
  void Release(const Mark& mark) {
    current_ = mark.block;
    used_ = mark.used;
  }

  int64_t bytes() const {
    size_t total = 0;
    for (const Block& block : blocks_) total += block.size;
    return static_cast<int64_t>(total);
  }

 private:
  static constexpr size_t kAlignment = 64;
  static constexpr size_t kBlockBytes = size_t{16} << 20;
  struct Free {
    void operator()(std::byte* p) const { ::operator delete(p, std::align_val_t{kAlignment}); }
  };
  struct Block {
    std::unique_ptr<std::byte, Free> memory;
    size_t size = 0;
  };

  void Grow(size_t bytes) {
    const size_t size = std::max(bytes, kBlockBytes);
    auto* memory = static_cast<std::byte*>(::operator new(size, std::align_val_t{kAlignment}));
    blocks_.push_back({std::unique_ptr<std::byte, Free>(memory), size});
    used_ = 0;
  }

  std::vector<Block> blocks_;
  size_t current_ = 0;
  size_t used_ = 0;
};

}  // namespace baleen::training
