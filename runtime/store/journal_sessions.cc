// The journal's writes of session rows and their settings.
//
// Settings lie in rows of their own, because forks share them: a script of a megabyte must not be
// copied by a fork.
#include <algorithm>

#include "runtime/store/journal_codec.h"
#include "runtime/store/journal_impl.h"

namespace baleen {

Status Journal::Impl::NoSession(std::string_view id) const {
  return NotFoundError("session '" + std::string(id) + "' is not in journal '" + database->path() +
                       "'; list the sessions to see which are");
}

Result<SessionKeys> Journal::Impl::FindSession(std::string_view id) {
  ASSIGN_OR_RETURN(Query select,
                   database->Prepare("SELECT key, settings, current FROM sessions WHERE id = ?1"));
  select.Bind(id);
  ASSIGN_OR_RETURN(const bool row, select.Step());
  if (!row) return NoSession(id);
  return SessionKeys{select.Int(0), select.Int(1), select.Int(2)};
}

Status Journal::Impl::RequireAbsent(const std::string& id) {
  const auto found = FindSession(id);
  if (found.ok()) {
    return AlreadyExistsError("session '" + id + "' exists already; choose another id");
  }
  return found.status().code() == StatusCode::kNotFound ? OkStatus() : found.status();
}

Result<int64_t> Journal::Impl::InsertSettings(std::string_view text) {
  ASSIGN_OR_RETURN(const int64_t key,
                   database->IntOf("SELECT coalesce(max(key), 0) + 1 FROM settings"));
  ASSIGN_OR_RETURN(Query insert, database->Prepare("INSERT INTO settings(key, text, checksum) "
                                                   "VALUES(?1, ?2, ?3)"));
  RETURN_IF_ERROR(insert.Bind(key).Bind(text).Bind(SettingsChecksum(key, text)).Run());
  return key;
}

Status Journal::Impl::InsertSession(const SessionRecord& session, int64_t settings,
                                    TimelineRow timeline) {
  ASSIGN_OR_RETURN(timeline.key, NextTimelineKey());
  timeline.created_ms = session.created_ms;
  timeline.updated_ms = std::max(session.updated_ms, session.created_ms);
  written_timeline = timeline.key;
  ASSIGN_OR_RETURN(
      Query insert,
      database->Prepare("INSERT INTO timelines(key, session, number, base, base_seq, base_tokens, "
                        "previous, created_ms, updated_ms, tokens, last_seq, checksum, id, title, "
                        "settings, pinned, current, session_checksum) VALUES(?1, ?1, 1, ?2, ?3, "
                        "?4, 0, ?5, ?6, ?4, ?3, ?7, ?8, ?9, ?10, ?11, ?1, ?12)"));
  return insert.Bind(timeline.key)
      .Bind(timeline.base)
      .Bind(timeline.base_seq)
      .Bind(timeline.base_tokens)
      .Bind(timeline.created_ms)
      .Bind(timeline.updated_ms)
      .Bind(TimelineChecksum(timeline))
      .Bind(session.id)
      .Bind(session.title)
      .Bind(settings)
      .Bind(static_cast<int64_t>(session.pinned ? 1 : 0))
      .Bind(SessionChecksum(session, settings, timeline.key))
      .Run();
}

Status Journal::Impl::StoreSession(int64_t key, const SessionRecord& session,
                                   const SessionKeys& keys) {
  ASSIGN_OR_RETURN(Query update,
                   database->Prepare("UPDATE timelines SET title = ?2, settings = ?3, pinned = ?4, "
                                     "current = ?5, session_checksum = ?6 WHERE key = ?1"));
  written_timeline = key;
  return update.Bind(key)
      .Bind(session.title)
      .Bind(keys.settings)
      .Bind(static_cast<int64_t>(session.pinned ? 1 : 0))
      .Bind(keys.timeline)
      .Bind(SessionChecksum(session, keys.settings, keys.timeline))
      .Run();
}

Status Journal::Impl::CreateSession(const SessionRecord& session) {
  RETURN_IF_ERROR(RequireAbsent(session.id));
  ASSIGN_OR_RETURN(const int64_t settings, InsertSettings(session.settings));
  return InsertSession(session, settings, {});
}

Status Journal::Impl::UpdateSession(const SessionRecord& session) {
  ASSIGN_OR_RETURN(SessionKeys keys, FindSession(session.id));
  ASSIGN_OR_RETURN(SessionRecord merged, ReadSession(session.id));
  const int64_t before = keys.settings;
  if (session.settings != merged.settings) {
    ASSIGN_OR_RETURN(keys.settings, InsertSettings(session.settings));
  }
  merged.title = session.title;
  RETURN_IF_ERROR(StoreSession(keys.key, merged, keys));
  if (keys.settings != before) RETURN_IF_ERROR(DropUnusedSettings(before));
  ASSIGN_OR_RETURN(Query update,
                   database->Prepare("UPDATE timelines SET updated_ms = ?2 WHERE key = ?1"));
  return update.Bind(keys.timeline).Bind(session.updated_ms).Run();
}

Status Journal::Impl::PinSession(const JournalBatch::Pin& pin) {
  ASSIGN_OR_RETURN(const SessionKeys keys, FindSession(pin.session));
  ASSIGN_OR_RETURN(SessionRecord session, ReadSession(pin.session));
  session.pinned = pin.pinned;
  return StoreSession(keys.key, session, keys);
}

Status Journal::Impl::DropUnusedSettings(int64_t settings) {
  ASSIGN_OR_RETURN(Query drop,
                   database->Prepare("DELETE FROM settings WHERE key = ?1 AND NOT EXISTS "
                                     "(SELECT 1 FROM sessions WHERE settings = ?1)"));
  return drop.Bind(settings).Run();
}

}  // namespace baleen
