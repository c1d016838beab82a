// RecordingBackend: runs the reference backend and notes what the forward pass asks of it.
#pragma once

#include <memory>
#include <vector>

#include "kernels/backend.h"

namespace baleen::testing {

class RecordingBackend : public kernels::Backend {
 public:
  struct AttentionCall {
    std::vector<float> q;       ///< [tokens, heads, dim]
    std::vector<float> window;  ///< [rows, dim]
    std::vector<int64_t> window_begin;
    std::vector<int64_t> window_end;
    std::vector<int64_t> visible;
    std::vector<std::vector<int32_t>> selected;  ///< Per token without padding; empty: all.
    int64_t entries = 0;
    float scale = 0;
  };
  struct RopeCall {
    kernels::RopeDirection direction = kernels::RopeDirection::kForward;
    int64_t heads = 0;
    std::vector<int64_t> positions;
    std::vector<float> inv_freq;
    std::vector<float> before;
    std::vector<float> after;
  };
  struct RouteCall {
    std::vector<float> logits;
    std::vector<float> bias;
    std::vector<int32_t> ids;
    std::vector<float> weights;
    bool forced = false;
  };

  std::vector<AttentionCall> attention;
  std::vector<RopeCall> rope;
  std::vector<RouteCall> route;
  int index_calls = 0;

  std::string_view name() const override { return "recording"; }
  int arithmetic_revision() const override { return 1; }
  std::string_view instruction_set() const override { return "portable"; }
  int threads() const override { return 1; }

  std::unique_ptr<kernels::PackedMatrix> Pack(const kernels::MatrixSource& s) const override {
    return ref_->Pack(s);
  }
  void Linear(const kernels::LinearParams& p) override { ref_->Linear(p); }
  void RmsNorm(const kernels::RmsNormParams& p) override { ref_->RmsNorm(p); }
  void HcGates(const kernels::HcGatesParams& p) override { ref_->HcGates(p); }
  void HcCollapse(const kernels::HcCollapseParams& p) override { ref_->HcCollapse(p); }
  void HcExpand(const kernels::HcExpandParams& p) override { ref_->HcExpand(p); }
  void GatedPool(const kernels::GatedPoolParams& p) override { ref_->GatedPool(p); }
  void StoreEntries(const kernels::StoreEntriesParams& p) override { ref_->StoreEntries(p); }
  void LoadEntries(const kernels::LoadEntriesParams& p) override { ref_->LoadEntries(p); }
  void StoreIndexKeys(const kernels::StoreIndexKeysParams& p) override { ref_->StoreIndexKeys(p); }
  void IndexQuery(const kernels::IndexQueryParams& p) override { ref_->IndexQuery(p); }
  void SwiGlu(const kernels::SwiGluParams& p) override { ref_->SwiGlu(p); }

  void IndexTopK(const kernels::IndexTopKParams& p) override {
    ++index_calls;
    ref_->IndexTopK(p);
  }

  void Rope(const kernels::RopeParams& p) override {
    const size_t count = static_cast<size_t>(p.tokens * p.heads * p.dim);
    RopeCall call;
    call.direction = p.direction;
    call.heads = p.heads;
    call.positions.assign(p.positions, p.positions + p.tokens);
    call.inv_freq.assign(p.inv_freq, p.inv_freq + p.pairs);
    call.before.assign(p.x, p.x + count);
    ref_->Rope(p);
    call.after.assign(p.x, p.x + count);
    rope.push_back(std::move(call));
  }

  void SparseAttention(const kernels::SparseAttentionParams& p) override {
    AttentionCall call;
    call.q.assign(p.q, p.q + p.tokens * p.heads * p.dim);
    call.window_begin.assign(p.window_begin, p.window_begin + p.tokens);
    call.window_end.assign(p.window_end, p.window_end + p.tokens);
    call.window.assign(p.window, p.window + call.window_end.back() * p.dim);
    if (p.entries.rows > 0) call.visible.assign(p.visible, p.visible + p.tokens);
    call.entries = p.entries.rows;
    call.scale = p.scale;
    if (p.selected != nullptr) {
      for (int64_t t = 0; t < p.tokens; ++t) {
        call.selected.emplace_back();
        for (int64_t i = 0; i < p.topk; ++i) {
          const int32_t row = p.selected[t * p.topk + i];
          if (row >= 0) call.selected.back().push_back(row);
        }
      }
    }
    attention.push_back(std::move(call));
    ref_->SparseAttention(p);
  }

  void Route(const kernels::RouteParams& p) override {
    ref_->Route(p);
    RouteCall call;
    call.logits.assign(p.logits, p.logits + p.tokens * p.experts);
    if (p.bias != nullptr) call.bias.assign(p.bias, p.bias + p.experts);
    call.ids.assign(p.ids, p.ids + p.tokens * p.topk);
    call.weights.assign(p.weights, p.weights + p.tokens * p.topk);
    call.forced = p.forced != nullptr;
    route.push_back(std::move(call));
  }

 private:
  std::unique_ptr<kernels::Backend> ref_ = kernels::MakeBackend("ref", 1);
};

}  // namespace baleen::testing
