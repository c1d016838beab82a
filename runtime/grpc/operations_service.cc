// google.longrunning.Operations: how the work goes that Admin.StartOperation began.

#include <google/longrunning/operations.grpc.pb.h>

#include <algorithm>
#include <string>

#include "runtime/grpc/operation_table.h"
#include "runtime/grpc/unary.h"

namespace baleen {
namespace {

namespace longrunning = google::longrunning;

constexpr int64_t kWaitMsMax = 30'000;

class OperationsService final : public longrunning::Operations::CallbackService {
 public:
  explicit OperationsService(const ServiceContext& context) : service_(context) {}

  Reactor* ListOperations(Context* context, const longrunning::ListOperationsRequest* request,
                          longrunning::ListOperationsResponse* response) override {
    return Answer(service_, context, Scope::kAdmin, [this, request, response](Runtime&) -> Status {
      ASSIGN_OR_RETURN(const int64_t rows, PageRows(request->page_size(), request->page_token()));
      if (!request->filter().empty()) {
        return wire::BadField("filter", "nothing: there are no filters", request->filter());
      }
      const auto count = static_cast<size_t>(rows);
      for (auto& operation : service_.operations->List(count, request->page_token())) {
        response->set_next_page_token(operation.name());
        *response->add_operations() = std::move(operation);
      }
      if (static_cast<size_t>(response->operations_size()) < count) {
        response->clear_next_page_token();
      }
      return OkStatus();
    });
  }

  Reactor* GetOperation(Context* context, const longrunning::GetOperationRequest* request,
                        longrunning::Operation* response) override {
    return Answer(service_, context, Scope::kAdmin, [this, request, response](Runtime&) -> Status {
      ASSIGN_OR_RETURN(*response, service_.operations->Get(request->name()));
      return OkStatus();
    });
  }

  Reactor* DeleteOperation(Context* context, const longrunning::DeleteOperationRequest* request,
                           google::protobuf::Empty* /*response*/) override {
    return Answer(service_, context, Scope::kAdmin, [this, request](Runtime&) {
      return service_.operations->Delete(request->name());
    });
  }

  Reactor* CancelOperation(Context* context, const longrunning::CancelOperationRequest* request,
                           google::protobuf::Empty* /*response*/) override {
    return Answer(service_, context, Scope::kAdmin, [this, request](Runtime&) {
      return service_.operations->Cancel(request->name());
    });
  }

  Reactor* WaitOperation(Context* context, const longrunning::WaitOperationRequest* request,
                         longrunning::Operation* response) override {
    return Answer(service_, context, Scope::kAdmin, [this, request, response](Runtime&) -> Status {
      int64_t wait_ms = kWaitMsMax;
      if (request->has_timeout()) {
        // Seconds first: the product of too many would not fit.
        const int64_t seconds = std::clamp<int64_t>(request->timeout().seconds(), 0, 3600);
        wait_ms = std::clamp<int64_t>(seconds * 1000 + request->timeout().nanos() / 1'000'000, 0,
                                      kWaitMsMax);
      }
      ASSIGN_OR_RETURN(*response, service_.operations->Wait(request->name(), wait_ms));
      return OkStatus();
    });
  }

 private:
  const ServiceContext service_;
};

}  // namespace

std::unique_ptr<grpc::Service> NewOperationsService(const ServiceContext& context) {
  return std::make_unique<OperationsService>(context);
}

}  // namespace baleen
