// Porting: the control thread's part in exports and imports. The files are read and written by the
// caller's thread (session_export.cc, session_import.cc); here the session is looked up, or joins
// the others.
#include <utility>

#include "runtime/sessions/control_loop.h"
#include "runtime/sessions/session_import.h"

namespace baleen {
namespace {

constexpr char kImportMethod[] = "ImportSession";

}  // namespace

void ControlLoop::FindForExport(const std::string& session, const Answer<SessionRecord>& answer) {
  auto run = Load(session);
  if (!run.ok()) return answer(run.status());
  if (Status status = CheckIdle(**run); !status.ok()) return answer(status);
  answer((*run)->record);
}

void ControlLoop::FindImport(const std::string& request_id, const Answer<SessionView>& answer) {
  const auto earlier = EarlierAnswer(request_id, kImportMethod);
  if (!earlier.ok()) return answer(earlier.status());
  GetSession(IdFromAnswer(*earlier), answer);
}

void ControlLoop::AddImport(const ImportRequest& request, const std::shared_ptr<ImportPlan>& plan,
                            const Answer<SessionView>& reply) {
  const auto answer = FirstOnly(kImportMethod, request.request_id, reply,
                                [this, request, plan, reply] { AddImport(request, plan, reply); });
  if (!answer) return;
  // Another caller may have read the same archive meanwhile.
  if (auto earlier = EarlierAnswer(request.request_id, kImportMethod); earlier.ok()) {
    return GetSession(IdFromAnswer(*earlier), answer);
  }
  auto id = NewSessionId(request.session.empty() ? plan->session.id : request.session);
  if (!id.ok()) return answer(id.status());
  if (Status status = CheckSettings(plan->settings); !status.ok()) return answer(status);
  auto run = std::make_unique<SessionRun>();
  run->settings = plan->settings;
  run->record = std::move(plan->session);
  run->record.id = *id;
  run->record.updated_ms = parts_.clock->WallMs();
  JournalBatch batch;
  plan->history.session = run->record;
  batch.imports.push_back(std::move(plan->history));
  if (!request.request_id.empty()) {
    batch.answers.push_back(
        {request.request_id, kImportMethod, AnswerJson(*id), run->record.updated_ms});
  }
  MakeSession(std::move(run), std::move(batch), answer);
}

}  // namespace baleen
