// Pass: one forward and backward walk through the graph, over the number type.
//
// float trains; double is how gradients are checked. Reads as the model does: embedding, layers of
// two hyper-connection sites each, head, draft block, then the same backwards. Every stage keeps
// what its gradient needs in a state struct; activations live in an arena until the next run.
#pragma once

#include <cstdint>
#include <vector>

#include "model/config.h"
#include "model/training/arena.h"
#include "model/training/documents.h"
#include "model/training/graph.h"
#include "model/training/ops/op_table.h"
#include "model/training/parameters.h"
#include "model/training/weight_index.h"

namespace baleen::training {

/// What one run works on. Borrows: everything, until Run returns.
template <class T>
struct PassInput {
  const Documents* documents = nullptr;
  std::vector<const T*> values;  ///< [parameters]
  std::vector<T*> gradients;     ///< [parameters]; empty: forward only.
  const ParameterSet* set = nullptr;
  GraphOptions options;  ///< Checked; window resolved.
  LossScale scale;
  LossReport* report = nullptr;
  Evaluation* evaluation = nullptr;  ///< Null: losses alone.
  bool want_logits = false;

  bool training() const { return !gradients.empty(); }
};

/// A hyper-connection site: what it read and what it gave its sublayer.
template <class T>
struct SiteState {
  bool head = false;           ///< A head mix: collapses only, and has no gates for expanding.
  const T* streams = nullptr;  ///< [N, mult, hidden]
  T* mix = nullptr;            ///< [N, gates]
  T* rho = nullptr;            ///< [N]
  T* pre = nullptr;            ///< [N, mult]
  T* post = nullptr;           ///< [N, mult]
  T* comb = nullptr;           ///< [N, mult, mult]
  T* u = nullptr;              ///< [N, hidden] collapsed
  T* rstd = nullptr;           ///< [N]
  T* x = nullptr;              ///< [N, hidden] normalised: the sublayer's input
  T* y = nullptr;              ///< [N, hidden] the sublayer's output
};

/// Entries of all documents, one after the other.
template <class T>
struct CompressorRows {
  int64_t ratio = 0;
  int64_t dim = 0;
  bool overlap = false;
  int64_t entries = 0;
  std::vector<int64_t> first;     ///< [documents] entry of the document's first window
  std::vector<int32_t> position;  ///< [entries] first token of the window
  T* value = nullptr;             ///< [N, width]
  T* gate = nullptr;              ///< [N, width] without ape
  T* pooled = nullptr;            ///< [entries, dim]
  T* rstd = nullptr;              ///< [entries]
  T* rows = nullptr;              ///< [entries, dim] normalised and rotated

  int64_t width() const { return overlap ? 2 * dim : dim; }
};

template <class T>
struct AttentionState {
  T* q_low_raw = nullptr;   ///< [N, q_rank] before the norm
  T* q_low_rstd = nullptr;  ///< [N]
  T* q_low = nullptr;       ///< [N, q_rank]
  T* q = nullptr;           ///< [N, heads, head_dim] normalised and rotated
  T* q_rstd = nullptr;      ///< [N, heads]
  T* kv_raw = nullptr;      ///< [N, head_dim] before the norm
  T* kv_rstd = nullptr;     ///< [N]
  T* kv = nullptr;          ///< [N, head_dim] keys and values
  T* lse = nullptr;         ///< [N, heads]
  T* out = nullptr;         ///< [N, heads, head_dim] rotated back
  T* o_low = nullptr;       ///< [N, o_groups, o_rank]
  CompressorRows<T> entries;
};

template <class T>
struct MoeState {
  T* logits = nullptr;         ///< [N, experts]
  T* scores = nullptr;         ///< [N, experts]
  T* weights = nullptr;        ///< [N, topk]
  std::vector<int64_t> begin;  ///< [experts + 1] rows of each expert
  std::vector<int64_t> slot;   ///< [N * topk] row -> token * topk + choice
  T* row_weight = nullptr;     ///< [N * topk]
  T* x = nullptr;              ///< [N * topk, hidden]
  T* gate = nullptr;           ///< [N * topk, expert_dim]
  T* up = nullptr;
  T* product = nullptr;
  T* shared_gate = nullptr;  ///< [N, expert_dim * shared_experts]
  T* shared_up = nullptr;
  T* shared_product = nullptr;
};

template <class T>
struct LayerState {
  SiteState<T> attn_site;
  AttentionState<T> attn;
  SiteState<T> ffn_site;
  MoeState<T> moe;
};

/// Rows of a layer that go through a round trip of quantisation.
enum class RoundedRows { kWindow, kEntries, kIndexQueries, kIndexKeys };
inline constexpr size_t kRoundedRowKinds = 4;

/// Whether a run chooses anew, keeps what rounding did as well, or repeats what was kept. Choices
/// and roundings are constants to the gradient, so a finite difference has to hold them.
enum class ChoiceUse { kFresh, kKeep, kRepeat };

/// What was chosen in a layer. Outlives a run.
template <class T>
struct LayerChoices {
  std::vector<int32_t> experts;      ///< [N, topk] ascending
  std::vector<uint8_t> selected;     ///< Per document [tokens, entries]: 1 if the query sees it.
  std::vector<int64_t> selected_at;  ///< [documents] offset; empty: all visible entries are seen.
  std::vector<T> rounding[kRoundedRowKinds];  ///< Rounded minus exact; kept by kKeep.
};

/// A block of queries of one document and the keys that any of them sees.
struct QueryBlock {
  int64_t document = 0;
  int64_t first = 0;  ///< Position of the first query.
  int64_t count = 0;
  int64_t token = 0;         ///< Flat index of the first query.
  int64_t window_token = 0;  ///< Flat index of the first window key.
  int64_t window_count = 0;
  int64_t entry = 0;  ///< Flat index of the first entry.
  int64_t entry_count = 0;
  std::vector<int64_t> window_begin;  ///< [count] columns
  std::vector<int64_t> window_end;
  std::vector<int64_t> visible;  ///< [count] entries

  int64_t columns() const { return window_count + entry_count; }
};

/// The indexer's rows while a layer's attention runs.
template <class T>
struct IndexerState {
  bool used = false;
  bool learns = false;
  T* q = nullptr;        ///< [N, index_heads, index_dim]
  T* weights = nullptr;  ///< [N, index_heads]
  CompressorRows<T> keys;
  T* dq = nullptr;
  T* dweights = nullptr;
  T* dkeys = nullptr;
};

/// The draft block's own input.
template <class T>
struct DraftState {
  const T* streams = nullptr;   ///< [N, mult, hidden] of the last layer
  std::vector<int32_t> tokens;  ///< [N] next tokens; a document's last has its own
  T* embedded = nullptr;        ///< [N, hidden]
  T* embedded_rstd = nullptr;   ///< [N]
  T* embedded_norm = nullptr;   ///< [N, hidden]
  T* stream_rstd = nullptr;     ///< [N, mult]
  T* stream_norm = nullptr;     ///< [N, mult, hidden]
};

/// Predictions to score: some tokens, what should follow them, how much it counts.
template <class T>
struct HeadTask {
  const HeadIndex* index = nullptr;
  std::vector<int64_t> rows;      ///< Tokens.
  std::vector<int32_t> targets;   ///< -1: none (evaluation).
  std::vector<T> weights;         ///< Already scaled, for the gradient.
  std::vector<float> raw_weight;  ///< As in the batch.
  bool draft = false;
};

template <class T>
struct RopeAngles {
  int64_t positions = 0;
  std::vector<T> cosine;  ///< [positions, rope_dim / 2]
  std::vector<T> sine;
};

/// Threads: one run at a time.
template <class T>
class Pass {
 public:
  /// Borrows: ops.
  Pass(const ModelConfig& config, const OpTable<T>& ops);

  /// Fills the report and, unless `gradients` is empty, adds to them.
  void Run(const PassInput<T>& input);

  /// Requires: for kRepeat, the same documents as in the run with kKeep.
  void set_choice_use(ChoiceUse use) { choice_use_ = use; }
  /// One per layer, the draft block's last.
  std::vector<LayerChoices<T>>& choices() { return choices_; }
  int64_t memory_bytes() const { return arena_.bytes(); }

 private:
  // pass.cc
  T* Embed();
  void EmbedGrad(const T* dstreams);
  T* Layer(size_t l, const T* streams);
  void LayerGrad(size_t l, T* dstreams);
  void Linear(const T* x, size_t weight, T* y, int64_t rows, int64_t in, int64_t out);
  /// Adds to the weight's gradient; `dx` (null: not wanted) is set, or added to.
  void LinearGrad(const T* x, size_t weight, const T* dy, int64_t rows, int64_t in, int64_t out,
                  T* dx, bool add_dx);
  void Multiply(GemmParams<T> gemm);
  void Rotate(T* x, const RopeAngles<T>& angles, const int32_t* position, int64_t rows,
              int64_t heads, int64_t dim, bool inverse);
  void PrepareAngles();
  bool choosing() const { return choice_use_ != ChoiceUse::kRepeat; }
  const T* Value(size_t parameter) const { return in_->values[parameter]; }
  T* Gradient(size_t parameter) const { return in_->gradients[parameter]; }

  // pass_site.cc
  void OpenSite(const HcIndex& hc, size_t norm, const T* streams, SiteState<T>& s);
  T* CloseSite(const SiteState<T>& s);
  /// Returns dy.
  T* CloseSiteGrad(const SiteState<T>& s, T* dstreams, T* dpost, T* dcomb);
  void OpenSiteGrad(const HcIndex& hc, size_t norm, const SiteState<T>& s, T* dx, const T* dpost,
                    const T* dcomb, T* dstreams);
  HcGatesParams<T> Gates(const HcIndex& hc, const SiteState<T>& s) const;

  // pass_attention.cc
  void Attention(size_t l, const T* x, T* y, AttentionState<T>& s);
  void ProjectQueriesAndKeys(size_t l, const T* x, AttentionState<T>& s);
  void AttendBlock(size_t l, const QueryBlock& block, AttentionState<T>& s, IndexerState<T>& index);
  AttentionSoftmaxParams<T> ScoreBlock(size_t l, const QueryBlock& block,
                                       const AttentionState<T>& s);
  QueryBlock BlockAt(int64_t document, int64_t first, const CompressorRows<T>& entries) const;
  std::vector<QueryBlock> Blocks(const CompressorRows<T>& entries) const;

  // pass_attention_grad.cc
  void AttentionGrad(size_t l, const T* x, const AttentionState<T>& s, const T* dy, T* dx);
  void AttendBlockGrad(size_t l, const QueryBlock& block, const AttentionState<T>& s, const T* dout,
                       const T* delta, T* dq, T* dkv, T* dentries);

  // pass_compressor.cc
  void Compress(const CompressorIndex& index, const T* x, CompressorRows<T>& s);
  /// `drows` is used up; `dx` may be null, else it is added to.
  void CompressGrad(const CompressorIndex& index, const T* x, const CompressorRows<T>& s, T* drows,
                    T* dx);

  // pass_round_trip.cc: straight through, so that entries need no gradient of their own.
  void RoundTripEntries(size_t l, RoundedRows kind, T* rows, int64_t count);
  void RoundTripIndex(size_t l, RoundedRows kind, T* rows, int64_t count);
  void RoundTripIndexGrad(T* drows, int64_t count) const;

  // pass_indexer.cc
  void OpenIndexer(size_t l, const T* x, const AttentionState<T>& s, IndexerState<T>& index);
  /// Scores of a block [count, stride]; chooses entries unless frozen.
  void ScoreIndex(size_t l, const QueryBlock& block, const IndexerState<T>& index, T* dots,
                  T* score, int64_t stride);
  void SelectEntries(size_t l, const QueryBlock& block, const T* score, int64_t stride);
  void LearnIndex(const QueryBlock& block, const AttentionSoftmaxParams<T>& attention, T* dots,
                  T* score, int64_t stride, IndexerState<T>& index);
  void CloseIndexer(const LayerIndex& layer, const T* x, const AttentionState<T>& s,
                    IndexerState<T>& index);

  // pass_moe.cc
  void Moe(size_t l, const T* x, T* y, MoeState<T>& s);
  void MoeGrad(size_t l, const T* x, const MoeState<T>& s, const T* dy, T* dx);
  RouteParams<T> Routing(size_t l, const MoeState<T>& s);
  void GroupByExpert(size_t l, MoeState<T>& s);
  void RunExperts(const MoeIndex& moe, MoeState<T>& s, T* y);
  void ExpertsGrad(const MoeIndex& moe, const MoeState<T>& s, const T* dy, T* dx, T* dweights);
  void SharedGrad(const MoeIndex& moe, const T* x, const MoeState<T>& s, const T* dy, T* dx);
  /// Adds the balance loss to the report; with `dscores`, its gradient.
  void Balance(size_t l, const MoeState<T>& s, T* dscores, bool report);

  // pass_head.cc
  HeadTask<T> MainTask() const;
  HeadTask<T> DraftTask() const;
  /// Loss of a task; when training, sets dstreams.
  void Head(const HeadTask<T>& task, const T* streams, T* dstreams);
  void ScoreRows(const HeadTask<T>& task, int64_t first, int64_t count, T* logits, const T* x,
                 T* dx);
  void CountRow(const HeadTask<T>& task, int64_t at, T loss, int32_t argmax);

  // pass_draft.cc
  T* OpenDraft(const T* streams, DraftState<T>& s);
  void OpenDraftGrad(const DraftState<T>& s, const T* dinput, T* dstreams);

  ModelConfig config_;
  const OpTable<T>& ops_;
  WeightIndex index_;
  Arena arena_;
  std::vector<T> pack_;
  RopeAngles<T> window_angles_;
  RopeAngles<T> compress_angles_;
  std::vector<LayerState<T>> layers_;
  std::vector<LayerChoices<T>> choices_;
  ChoiceUse choice_use_ = ChoiceUse::kFresh;
  const PassInput<T>* in_ = nullptr;  ///< Of the run in progress.
  int64_t tokens_ = 0;                ///< N
};

extern template class Pass<float>;
extern template class Pass<double>;

}  // namespace baleen::training
