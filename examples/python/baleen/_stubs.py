"""Makes the stubs of proto/baleen/v1 once per state of the protos, in a cache folder."""
import hashlib
import os
import pathlib
import shutil
import subprocess
import uuid

PROTO = pathlib.Path(__file__).resolve().parents[3] / "proto"


def stubs_folder() -> pathlib.Path:
    """$BALEEN_STUBS or ~/.cache/baleen/python-stubs, and in it a folder per state of the protos."""
    protos = sorted(PROTO.glob("baleen/v1/*.proto"))
    digest = hashlib.sha256(b"".join(p.read_bytes() for p in protos)).hexdigest()[:16]
    cache = os.environ.get("BALEEN_STUBS") or os.path.expanduser("~/.cache/baleen/python-stubs")
    folder = pathlib.Path(cache) / digest
    if not folder.exists():
        plugin = shutil.which("grpc_python_plugin")
        if plugin is None or shutil.which("protoc") is None:
            raise ImportError("baleen: needs protoc and grpc_python_plugin (Debian: protobuf-compiler, "
                              "protobuf-compiler-grpc)")
        fresh = folder.with_suffix(f".{uuid.uuid4().hex}")
        fresh.mkdir(parents=True)
        subprocess.run(["protoc", "-I", PROTO, f"--python_out={fresh}", f"--grpc_out={fresh}",
                        f"--plugin=protoc-gen-grpc={plugin}", *protos], check=True)
        try:
            fresh.rename(folder)
        except OSError:  # another process was quicker
            shutil.rmtree(fresh)
    return folder
