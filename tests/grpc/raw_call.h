// Calls a method by name with any bytes, as a hostile or foreign client does.
#pragma once

#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/grpcpp.h>

#include <chrono>
#include <memory>
#include <string>

namespace baleen {

inline std::shared_ptr<grpc::Channel> RawChannel(const std::string& address) {
  return grpc::CreateChannel(address, grpc::InsecureChannelCredentials());
}

/// Sends one message, half-closes, and returns the first answer ("" if none); `*status` is the end.
inline std::string RawCall(const std::shared_ptr<grpc::Channel>& channel, const std::string& method,
                           const std::string& bytes, grpc::Status* status) {
  grpc::GenericStub stub(channel);
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(60));
  grpc::CompletionQueue queue;
  const auto step = [&queue] {
    void* tag = nullptr;
    bool ok = false;
    return queue.Next(&tag, &ok) && ok;
  };
  const auto call = stub.PrepareCall(&context, method, &queue);
  call->StartCall(nullptr);
  step();
  const grpc::Slice slice(bytes);
  call->WriteLast(grpc::ByteBuffer(&slice, 1), grpc::WriteOptions(), nullptr);
  step();
  grpc::ByteBuffer answer;
  call->Read(&answer, nullptr);
  std::string out;
  if (step()) {
    grpc::Slice whole;
    if (answer.DumpToSingleSlice(&whole).ok()) {
      out.assign(reinterpret_cast<const char*>(whole.begin()), whole.size());
    }
  }
  call->Finish(status, nullptr);
  step();
  queue.Shutdown();
  while (step()) {
  }
  return out;
}

}  // namespace baleen
