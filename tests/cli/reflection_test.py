#!/usr/bin/python3
"""Every RPC of a daemon can be found and called by reflection alone, with no proto at hand.

Usage: reflection_test.py BALEEN TOKENIZER_JSON
"""
import json
import pathlib
import subprocess
import sys
import tempfile
import unittest

BALEEN, TOKENIZER = sys.argv[1:3]


class Reflection(unittest.TestCase):
    def setUp(self):
        scratch = tempfile.TemporaryDirectory()
        self.addCleanup(scratch.cleanup)
        self.folder = pathlib.Path(scratch.name)
        self.address = f"unix:{self.folder}/run/s"
        subprocess.run([BALEEN, "make-tiny", self.folder / "model", "--tokenizer", TOKENIZER],
                       check=True, capture_output=True)

    def serve(self):
        daemon = subprocess.Popen(
            [BALEEN, "serve", "--model", self.folder / "model", "--data-dir", self.folder / "data",
             "--listen", self.address, "--threads", "1",
             "--log-format", "json"], stderr=subprocess.PIPE, text=True)
        for line in daemon.stderr:
            if json.loads(line)["message"].startswith("listening"):
                return daemon
        self.fail("the daemon ended")

    def test_every_rpc_is_reachable_by_reflection(self):
        try:
            import grpc
            from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
        except ImportError:
            self.skipTest("no grpc for Python (Debian: python3-grpcio python3-protobuf)")
        daemon = self.serve()
        self.addCleanup(daemon.communicate)
        self.addCleanup(daemon.terminate)
        channel = grpc.insecure_channel(self.address)
        ask = channel.stream_stream("/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo")

        def fields(data):
            """(number, value) of a message whose fields are numbers and texts."""
            def number():
                nonlocal at
                value = shift = 0
                while True:
                    value |= (data[at] & 127) << shift
                    shift, at = shift + 7, at + 1
                    if data[at - 1] < 128:
                        return value
            at = 0
            while at < len(data):
                key = number()
                if key & 7 == 0:
                    yield key >> 3, number()
                else:
                    size = number()
                    yield key >> 3, data[at:at + size]
                    at += size

        def reflect(field, text):
            request = bytes([field << 3 | 2, len(text)]) + text.encode()
            return dict(fields(next(ask(iter([request]), timeout=60))))

        services = [dict(fields(entry))[1].decode()
                    for _, entry in fields(reflect(7, "*")[6])]
        self.assertIn("grpc.health.v1.Health", services)
        pool = descriptor_pool.DescriptorPool()
        seen = set()

        def learn(reply):
            for _, text in fields(reply[4]):
                file = descriptor_pb2.FileDescriptorProto.FromString(text)
                if file.name in seen:
                    continue
                seen.add(file.name)
                for name in file.dependency:
                    if name not in seen:
                        learn(reflect(3, name))
                pool.Add(file)

        reached = 0
        for service in (name for name in services if name.startswith("baleen.")):
            learn(reflect(4, service))
            for method in pool.FindServiceByName(service).methods:
                request = message_factory.MessageFactory(pool).GetPrototype(method.input_type)()
                call = channel.stream_stream(f"/{service}/{method.name}")
                try:
                    list(call(iter([request.SerializeToString()]), timeout=60))
                except grpc.RpcError as error:
                    self.assertNotIn(error.code(), (grpc.StatusCode.UNIMPLEMENTED,
                                                    grpc.StatusCode.UNAVAILABLE), method.full_name)
                reached += 1
        self.assertGreater(reached, 25)


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1], verbosity=2)
