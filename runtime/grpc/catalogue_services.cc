// What there is to think with, to call and to run: the services Models, Tools and Scripts.
#include <baleen/v1/models.grpc.pb.h>
#include <baleen/v1/scripts.grpc.pb.h>
#include <baleen/v1/tools.grpc.pb.h>

#include <algorithm>
#include <memory>
#include <string>

#include "runtime/grpc/unary.h"

namespace baleen {
namespace {

class ToolsService final : public v1::Tools::CallbackService {
 public:
  explicit ToolsService(const ServiceContext& context) : service_(context) {}

  Reactor* ListTools(Context* context, const v1::ListToolsRequest* request,
                     v1::ListToolsResponse* response) override {
    return Answer(
        service_, context, Scope::kSessionsRead, [request, response](Runtime& runtime) -> Status {
          ASSIGN_OR_RETURN(const std::string id, wire::ParseParent(request->parent(), "parent"));
          ASSIGN_OR_RETURN(const auto views, runtime.ListTools(id));
          for (const ToolView& view : views) wire::ToWire(id, view, response->add_tools());
          return OkStatus();
        });
  }

  Reactor* GetTool(Context* context, const v1::GetToolRequest* request,
                   v1::Tool* response) override {
    return Answer(
        service_, context, Scope::kSessionsRead, [request, response](Runtime& runtime) -> Status {
          ASSIGN_OR_RETURN(const wire::ToolName name, wire::ParseToolName(request->name(), "name"));
          ASSIGN_OR_RETURN(const auto views, runtime.ListTools(name.session));
          for (const ToolView& view : views) {
            if (view.spec.name != name.tool) continue;
            wire::ToWire(name.session, view, response);
            return OkStatus();
          }
          return NotFoundError("no tool '" + name.tool + "' there; ListTools names those that are",
                               "ITEM_UNKNOWN");
        });
  }

 private:
  const ServiceContext service_;
};

class ModelsService final : public v1::Models::CallbackService {
 public:
  explicit ModelsService(const ServiceContext& context) : service_(context) {}

  Reactor* ListModels(Context* context, const v1::ListModelsRequest* /*request*/,
                      v1::ListModelsResponse* response) override {
    return Answer(service_, context, Scope::kSessionsRead, [response](Runtime& runtime) -> Status {
      ASSIGN_OR_RETURN(const auto views, runtime.ListModels());
      for (const ModelView& view : views) wire::ToWire(view, response->add_models());
      return OkStatus();
    });
  }

  Reactor* GetModel(Context* context, const v1::GetModelRequest* request,
                    v1::Model* response) override {
    return Answer(service_, context, Scope::kSessionsRead,
                  [request, response](Runtime& runtime) -> Status {
                    if (!request->name().starts_with("models/")) {
                      return wire::BadField("name", "'models/embedded' or 'models/remote:{name}'",
                                            request->name());
                    }
                    ASSIGN_OR_RETURN(const auto views, runtime.ListModels());
                    for (const ModelView& view : views) {
                      if (wire::ModelNameOf(view.engine) != request->name()) continue;
                      wire::ToWire(view, response);
                      return OkStatus();
                    }
                    return NotFoundError("no model '" + request->name().substr(0, 80) +
                                             "'; ListModels names those that there are",
                                         "ENGINE_UNKNOWN");
                  });
  }

 private:
  const ServiceContext service_;
};

class ScriptsService final : public v1::Scripts::CallbackService {
 public:
  explicit ScriptsService(const ServiceContext& context) : service_(context) {}

  Reactor* PutScript(Context* context, const v1::PutScriptRequest* request,
                     v1::Script* response) override {
    return Answer(
        service_, context, Scope::kSessionsWrite, [request, response](Runtime& runtime) -> Status {
          PutScriptRequest wanted;
          wanted.validate_only = request->validate_only();
          if (!wanted.validate_only || !request->name().empty()) {
            ASSIGN_OR_RETURN(wanted.script, wire::ParseScriptName(request->name(), "name"));
          }
          wanted.source = request->source();
          return Reply(runtime.PutScript(wanted), response);
        });
  }

  Reactor* GetScript(Context* context, const v1::GetScriptRequest* request,
                     v1::Script* response) override {
    return Answer(service_, context, Scope::kSessionsRead,
                  [request, response](Runtime& runtime) -> Status {
                    ASSIGN_OR_RETURN(const std::string script,
                                     wire::ParseScriptName(request->name(), "name"));
                    return Reply(runtime.GetScript(script), response);
                  });
  }

  Reactor* ListScripts(Context* context, const v1::ListScriptsRequest* request,
                       v1::ListScriptsResponse* response) override {
    return Answer(
        service_, context, Scope::kSessionsRead, [request, response](Runtime& runtime) -> Status {
          ASSIGN_OR_RETURN(const int64_t rows,
                           PageRows(request->page_size(), request->page_token()));
          ASSIGN_OR_RETURN(const auto views, runtime.ListScripts(rows, request->page_token()));
          for (const ScriptView& view : views) {
            wire::ToWire(view, response->add_scripts());
          }
          if (std::ssize(views) == rows) {
            response->set_next_page_token(views.back().script);
          }
          return OkStatus();
        });
  }

  Reactor* DeleteScript(Context* context, const v1::DeleteScriptRequest* request,
                        google::protobuf::Empty* /*response*/) override {
    return Answer(service_, context, Scope::kSessionsWrite, [request](Runtime& runtime) -> Status {
      ASSIGN_OR_RETURN(const std::string script, wire::ParseScriptName(request->name(), "name"));
      return runtime.DeleteScript(script);
    });
  }

 private:
  const ServiceContext service_;
};

}  // namespace

std::unique_ptr<grpc::Service> NewScriptsService(const ServiceContext& context) {
  return std::make_unique<ScriptsService>(context);
}

std::unique_ptr<grpc::Service> NewToolsService(const ServiceContext& context) {
  return std::make_unique<ToolsService>(context);
}

std::unique_ptr<grpc::Service> NewModelsService(const ServiceContext& context) {
  return std::make_unique<ModelsService>(context);
}

}  // namespace baleen
