// The head of the pass: stream mix, final norm, logits in chunks, cross entropy and its gradient.
#include <algorithm>

#include "model/training/pass.h"

namespace baleen::training {
namespace {

constexpr int64_t kHeadRows = 128;  ///< Rows of logits in memory at a time.

}  // namespace

template <class T>
HeadTask<T> Pass<T>::MainTask() const {
  const Documents& d = *in_->documents;
  HeadTask<T> task;
  task.index = &index_.head_mix;
  for (int64_t t = 0; t < tokens_; ++t) {
    const auto at = static_cast<size_t>(t);
    const bool counts = d.targets[at] >= 0 && d.weights[at] > 0;
    if (!counts && in_->evaluation == nullptr) continue;
    task.rows.push_back(t);
    task.targets.push_back(d.targets[at]);
    task.raw_weight.push_back(counts ? d.weights[at] : 0);
    task.weights.push_back(static_cast<T>(in_->scale.target * static_cast<double>(d.weights[at])));
  }
  return task;
}

/// Row i has seen token i+1 and predicts what row i+1 of the main head does.
template <class T>
HeadTask<T> Pass<T>::DraftTask() const {
  const Documents& d = *in_->documents;
  HeadTask<T> task;
  task.index = &index_.draft_mix;
  task.draft = true;
  for (int64_t t = 0; t + 1 < tokens_; ++t) {
    const auto next = static_cast<size_t>(t + 1);
    if (d.next[static_cast<size_t>(t)] < 0) continue;
    const bool counts = d.targets[next] >= 0 && d.weights[next] > 0;
    if (!counts && in_->evaluation == nullptr) continue;
    task.rows.push_back(t);
    task.targets.push_back(d.targets[next]);
    task.raw_weight.push_back(counts ? d.weights[next] : 0);
    task.weights.push_back(
        static_cast<T>(in_->scale.target * static_cast<double>(in_->options.mtp_weight) *
                       static_cast<double>(d.weights[next])));
  }
  return task;
}

template <class T>
void Pass<T>::CountRow(const HeadTask<T>& task, int64_t at, T loss, int32_t argmax) {
  LossReport& report = *in_->report;
  const auto i = static_cast<size_t>(at);
  const double weight = task.raw_weight[i];
  const bool assistant = weight == 1;
  const bool right = argmax == task.targets[i];
  if (weight > 0) {
    const double share = static_cast<double>(loss) * weight * in_->scale.target;
    (task.draft ? report.mtp_loss : report.loss) += share;
  }
  if (task.draft) {
    report.mtp_targets += assistant ? 1 : 0;
    report.mtp_correct += assistant && right ? 1 : 0;
  } else {
    report.target_tokens += weight > 0 ? 1 : 0;
    report.assistant_targets += assistant ? 1 : 0;
    report.assistant_loss_sum += assistant ? static_cast<double>(loss) : 0;
    report.correct += assistant && right ? 1 : 0;
  }
  if (in_->evaluation == nullptr) return;
  const auto place = static_cast<size_t>(in_->documents->source[static_cast<size_t>(task.rows[i])]);
  if (task.draft) {
    in_->evaluation->mtp_argmax[place] = argmax;
  } else {
    in_->evaluation->loss[place] = static_cast<float>(loss);
    in_->evaluation->argmax[place] = argmax;
  }
}

template <class T>
void Pass<T>::ScoreRows(const HeadTask<T>& task, int64_t first, int64_t count, T* logits,
                        const T* x, T* dx) {
  const int64_t hidden = config_.hidden;
  const int64_t vocab = config_.vocab;
  const Arena::Mark mark = arena_.mark();
  T* gathered = arena_.Take<T>(count * hidden);
  T* loss = arena_.Take<T>(count);
  auto* argmax = arena_.Take<int32_t>(count);
  for (int64_t i = 0; i < count; ++i) {
    std::copy_n(x + task.rows[static_cast<size_t>(first + i)] * hidden, hidden,
                gathered + i * hidden);
  }
  Linear(gathered, index_.head, logits, count, hidden, vocab);
  if (in_->want_logits && !task.draft) {
    for (int64_t i = 0; i < count; ++i) {
      const int64_t token = task.rows[static_cast<size_t>(first + i)];
      const int64_t place = in_->documents->source[static_cast<size_t>(token)];
      std::copy_n(logits + i * vocab, vocab, in_->evaluation->logits.begin() + place * vocab);
    }
  }
  ops_.cross_entropy({.logits = logits,
                      .target = task.targets.data() + first,
                      .weight = in_->training() ? task.weights.data() + first : nullptr,
                      .rows = count,
                      .vocab = vocab,
                      .loss = loss,
                      .argmax = argmax});
  for (int64_t i = 0; i < count; ++i) CountRow(task, first + i, loss[i], argmax[i]);
  if (in_->training()) {
    T* dgathered = arena_.Take<T>(count * hidden);
    LinearGrad(gathered, index_.head, logits, count, hidden, vocab, dgathered, /*add_dx=*/false);
    for (int64_t i = 0; i < count; ++i) {
      std::copy_n(dgathered + i * hidden, hidden,
                  dx + task.rows[static_cast<size_t>(first + i)] * hidden);
    }
  }
  arena_.Release(mark);
}

template <class T>
void Pass<T>::Head(const HeadTask<T>& task, const T* streams, T* dstreams) {
  const Arena::Mark mark = arena_.mark();
  SiteState<T> site;
  site.head = true;
  OpenSite(task.index->hc, task.index->norm, streams, site);
  T* dx = in_->training() ? arena_.TakeZeros<T>(tokens_ * config_.hidden) : nullptr;
  const auto rows = static_cast<int64_t>(task.rows.size());
  T* logits = arena_.Take<T>(std::min(rows, kHeadRows) * config_.vocab);
  for (int64_t first = 0; first < rows; first += kHeadRows) {
    ScoreRows(task, first, std::min(kHeadRows, rows - first), logits, site.x, dx);
  }
  if (in_->training()) {
    std::fill_n(dstreams, tokens_ * config_.hc_mult * config_.hidden, T(0));
    OpenSiteGrad(task.index->hc, task.index->norm, site, dx, nullptr, nullptr, dstreams);
  }
  arena_.Release(mark);
}

template class Pass<float>;
template class Pass<double>;

}  // namespace baleen::training
