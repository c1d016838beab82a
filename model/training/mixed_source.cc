#include "model/training/mixed_source.h"

#include <utility>

namespace baleen::training {

MixedSource::MixedSource(std::vector<Part> parts, uint64_t seed)
    : parts_(std::move(parts)), seed_(seed) {
  for (const Part& part : parts_) total_ += part.share;
}

size_t MixedSource::Draw(uint64_t position) const {
  double at = static_cast<double>(RandomStream(seed_, position).Uniform()) * total_;
  for (size_t i = 0; i + 1 < parts_.size(); ++i) {
    if ((at -= parts_[i].share) < 0) return i;
  }
  return parts_.size() - 1;
}

Result<Sample> MixedSource::Next() {
  auto sample = parts_[Draw(position_)].source->Next();
  if (sample.ok()) ++position_;
  return sample;
}

Status MixedSource::Seek(uint64_t position) {
  std::vector<uint64_t> places(parts_.size());
  uint64_t from = 0;
  if (position >= position_) {
    from = position_;
    for (size_t i = 0; i < parts_.size(); ++i) places[i] = parts_[i].source->position();
  }
  for (; from < position; ++from) ++places[Draw(from)];
  for (size_t i = 0; i < parts_.size(); ++i) RETURN_IF_ERROR(parts_[i].source->Seek(places[i]));
  position_ = position;
  return OkStatus();
}

std::string MixedSource::identity() const {
  std::string text = "mix/1 seed " + std::to_string(seed_);
  for (const Part& part : parts_) {
    text += " {" + std::to_string(part.share) + " of " + part.source->identity() + "}";
  }
  return text;
}

}  // namespace baleen::training
