// The services of baleen.v1, each as one gRPC service object over a borrowed Runtime.
//
// Used by server.cc only.
#pragma once

#include <grpcpp/impl/codegen/service_type.h>

#include <memory>

#include "runtime/grpc/outbound.h"
#include "runtime/grpc/server.h"

namespace baleen {

class Access;
class OperationTable;

/// Borrows: everything, until the services are gone.
struct ServiceContext {
  const Access* access = nullptr;  ///< Who asks, and what of the runtime is for him.
  ServerOptions options;
  StreamThreads threads = {};
  OperationTable* operations = nullptr;
};

std::unique_ptr<grpc::Service> NewSessionsService(const ServiceContext& context);
std::unique_ptr<grpc::Service> NewTurnsService(const ServiceContext& context);
std::unique_ptr<grpc::Service> NewApprovalsService(const ServiceContext& context);
std::unique_ptr<grpc::Service> NewToolsService(const ServiceContext& context);
std::unique_ptr<grpc::Service> NewModelsService(const ServiceContext& context);
std::unique_ptr<grpc::Service> NewScriptsService(const ServiceContext& context);
std::unique_ptr<grpc::Service> NewAdminService(const ServiceContext& context);
std::unique_ptr<grpc::Service> NewOperationsService(const ServiceContext& context);
std::unique_ptr<grpc::Service> NewEventsService(const ServiceContext& context);
std::unique_ptr<grpc::Service> NewToolHostService(const ServiceContext& context);

}  // namespace baleen
