// The rows of an evaluation as CSV, JSON and a table.
#include <cstdio>
#include <nlohmann/json.hpp>

#include "runtime/evaluation/evaluation.h"

namespace baleen::evaluation {
namespace {

std::string Number(const char* format, double value) {
  char text[64];
  std::snprintf(text, sizeof(text), format, value);
  return text;
}

std::string Padded(std::string text, size_t width, bool right = false) {
  const std::string room(text.size() < width ? width - text.size() : 0, ' ');
  return right ? room + text : text + room;
}

}  // namespace

std::string RowsCsv(const std::vector<Row>& rows) {
  std::string csv = "task,variant,correct,total,share,low,high,perplexity\n";
  for (const Row& row : rows) {
    csv += row.task + ",\"" + row.variant + "\",";
    if (row.is_share()) {
      const Interval interval = WilsonInterval(row.correct, row.total);
      csv += std::to_string(row.correct) + "," + std::to_string(row.total) + "," +
             Number("%.4f", row.share()) + "," + Number("%.4f", interval.low) + "," +
             Number("%.4f", interval.high) + ",\n";
    } else {
      csv += "," + std::to_string(row.total) + ",,,," + Number("%.4f", row.perplexity) + "\n";
    }
  }
  return csv;
}

std::string RowsJson(const std::vector<Row>& rows) {
  auto json = nlohmann::ordered_json::array();
  for (const Row& row : rows) {
    nlohmann::ordered_json object = {{"task", row.task}, {"variant", row.variant}};
    if (row.is_share()) {
      const Interval interval = WilsonInterval(row.correct, row.total);
      object["correct"] = row.correct;
      object["total"] = row.total;
      object["share"] = row.share();
      object["low"] = interval.low;
      object["high"] = interval.high;
    } else {
      object["tokens"] = row.total;
      object["perplexity"] = row.perplexity;
    }
    json.push_back(std::move(object));
  }
  return json.dump();
}

std::string RowsTable(const std::vector<Row>& rows) {
  std::string table = Padded("task", 12) + Padded("variant", 28) + Padded("right", 12, true) +
                      Padded("share", 9, true) + "   95 % interval\n";
  for (const Row& row : rows) {
    table += Padded(row.task, 12) + Padded(row.variant, 28);
    if (row.is_share()) {
      const Interval interval = WilsonInterval(row.correct, row.total);
      table += Padded(std::to_string(row.correct) + "/" + std::to_string(row.total), 12, true) +
               Padded(Number("%.1f %%", 100 * row.share()), 9, true) +
               Number("   %.1f", 100 * interval.low) + Number(" - %.1f %%", 100 * interval.high);
    } else {
      table += Padded(std::to_string(row.total) + " tokens", 12, true) +
               Number("   perplexity %.3f", row.perplexity);
    }
    table += "\n";
  }
  return table;
}

}  // namespace baleen::evaluation
