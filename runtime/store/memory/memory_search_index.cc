// SearchIndex in memory: the class of search_index.h without SQLite, for builds with
// BALEEN_THREAD_CORE. Lower and upper case are alike for ASCII letters only.
#include <algorithm>
#include <utility>

#include "runtime/store/search_index.h"

namespace baleen {
namespace {

std::string Folded(std::string_view text) {
  std::string folded(text);
  for (char& c : folded) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  return folded;
}

}  // namespace

class SearchIndex::Impl {
 public:
  std::map<int64_t, IndexedTimeline> timelines;
  std::vector<IndexedText> texts;  ///< By key.
  int64_t last_key = 0;
};

SearchIndex::SearchIndex(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
SearchIndex::~SearchIndex() = default;

Result<std::unique_ptr<SearchIndex>> SearchIndex::Open(const std::string& /*path*/) {
  return std::unique_ptr<SearchIndex>(new SearchIndex(std::make_unique<Impl>()));
}

Status SearchIndex::Remove(const std::string& /*path*/) { return OkStatus(); }

Result<std::map<int64_t, IndexedTimeline>> SearchIndex::Timelines() { return impl_->timelines; }

Status SearchIndex::Add(int64_t timeline, const IndexedTimeline& upto,
                        const std::vector<IndexedText>& texts) {
  impl_->timelines[timeline] = upto;
  for (IndexedText text : texts) {
    text.key = ++impl_->last_key;
    text.timeline = timeline;
    impl_->texts.push_back(std::move(text));
  }
  return OkStatus();
}

Status SearchIndex::Forget(int64_t timeline, int64_t seq) {
  std::erase_if(impl_->texts, [&](const IndexedText& text) {
    return text.timeline == timeline && text.seq > seq;
  });
  const auto known = impl_->timelines.find(timeline);
  if (known == impl_->timelines.end()) return OkStatus();
  known->second.seq = std::min(known->second.seq, seq);
  if (seq == 0) impl_->timelines.erase(known);
  return OkStatus();
}

Result<std::vector<IndexedText>> SearchIndex::Find(std::string_view words, int64_t before,
                                                   int64_t limit) {
  std::vector<IndexedText> found;
  const std::string wanted = Folded(words);
  for (auto text = impl_->texts.rbegin(); text != impl_->texts.rend(); ++text) {
    if (static_cast<int64_t>(found.size()) >= limit) break;
    if (text->key < before && Folded(text->text).find(wanted) != std::string::npos) {
      found.push_back(*text);
    }
  }
  return found;
}

}  // namespace baleen
