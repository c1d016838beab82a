#include "model/training/curves.h"

#include <cerrno>
#include <charconv>
#include <cstring>
#include <string_view>

#include "model/checkpoint/file_access.h"

namespace baleen::training {
namespace {

constexpr int64_t kCurveBytesMax = int64_t{4} << 30;
constexpr std::string_view kHeader =
    "step,stage,tokens,loss,answer_loss,answer_accuracy,mtp_loss,mtp_accuracy,balance_loss,"
    "index_kl,gradient_norm,rate_share,load_peak,validation_loss,validation_accuracy,"
    "tokens_per_second\n";

// The stage's name comes from a config: no separators, no quotes, no line ends.
std::string Plain(const std::string& name) {
  std::string plain = name;
  for (char& letter : plain) {
    if (letter == ',' || letter == '"' || static_cast<unsigned char>(letter) < ' ') letter = '_';
  }
  return plain;
}

bool LineIsKept(std::string_view line, int64_t step) {
  int64_t at = 0;
  const auto read = std::from_chars(line.data(), line.data() + line.size(), at);
  return read.ec == std::errc() && at <= step && line.ends_with('\n');
}

double Share(int64_t part, int64_t whole) {
  return whole == 0 ? 0 : static_cast<double>(part) / static_cast<double>(whole);
}

Status Broken(const std::string& path) {
  return UnavailableError("cannot write '" + path + "': " + std::strerror(errno));
}

}  // namespace

double StepReport::answer_loss() const {
  if (losses.assistant_targets == 0) return 0;
  return losses.assistant_loss_sum / static_cast<double>(losses.assistant_targets);
}

double StepReport::answer_accuracy() const {
  return Share(losses.correct, losses.assistant_targets);
}

double StepReport::draft_accuracy() const { return Share(losses.mtp_correct, losses.mtp_targets); }

Result<Curves> Curves::Open(const std::string& path, int64_t step) {
  std::string kept(kHeader);
  if (step > 0 && FileExists(path)) {
    ASSIGN_OR_RETURN(const std::string text, ReadTextFile(path, kCurveBytesMax));
    for (size_t begin = 0; begin < text.size();) {
      const size_t end = std::min(text.find('\n', begin), text.size() - 1) + 1;
      const std::string_view line = std::string_view(text).substr(begin, end - begin);
      if (LineIsKept(line, step)) kept += line;
      begin = end;
    }
  }
  RETURN_IF_ERROR(WriteFileAtomically(path, kept));
  std::FILE* file = std::fopen(path.c_str(), "ae");
  if (file == nullptr) return Broken(path);
  return Curves(path, file);
}

Status Curves::Add(const StepReport& report) {
  char line[640];
  const LossReport& losses = report.losses;
  int size = std::snprintf(
      line, sizeof(line), "%lld,%.64s,%lld,%.6f,%.6f,%.5f,%.6f,%.5f,%.6g,%.6g,%.6g,%.6g,%.4f,",
      static_cast<long long>(report.step), Plain(report.stage).c_str(),
      static_cast<long long>(report.tokens_seen), losses.loss, report.answer_loss(),
      report.answer_accuracy(), losses.mtp_loss, report.draft_accuracy(), losses.balance_loss,
      losses.index_kl, report.gradient_norm, report.rate_share, report.load_peak);
  std::string text(line, static_cast<size_t>(size));
  if (report.validated) {
    size = std::snprintf(line, sizeof(line), "%.6f,%.5f,", report.validation_loss,
                         report.validation_accuracy);
  } else {
    size = std::snprintf(line, sizeof(line), ",,");
  }
  text.append(line, static_cast<size_t>(size));
  size =
      std::snprintf(line, sizeof(line), "%.1f\n",
                    report.seconds > 0 ? static_cast<double>(losses.tokens) / report.seconds : 0);
  text.append(line, static_cast<size_t>(size));
  if (std::fwrite(text.data(), 1, text.size(), file_.get()) != text.size() ||
      std::fflush(file_.get()) != 0) {
    return Broken(path_);
  }
  return OkStatus();
}

}  // namespace baleen::training
