#!/usr/bin/env python3
"""Installs Baleen into an empty prefix, and embeds it from projects outside the tree.

The examples of examples/embed are built by find_package and by pkg-config and run twice on one data
directory, in C and in C++; by add_subdirectory they are configured, and with --whole built, too.
"""
import argparse
import json
import os
import pathlib
import platform
import re
import shutil
import subprocess
import sys
import tempfile


def run(*command, **options):
  done = subprocess.run([str(word) for word in command], stdout=subprocess.PIPE,
                        stderr=subprocess.STDOUT, text=True, check=False, **options)
  if done.returncode != 0:
    sys.exit(f"{' '.join(map(str, command))}: exit {done.returncode}\n{done.stdout}")
  return done.stdout


def check(right, what):
  if not right:
    sys.exit(f"install_test: {what}")


def check_symbols(library):
  """Nothing but Baleen's own names is to be seen."""
  listing = run("nm", "-DC", "--defined-only", library)
  names = [line.split(" ", 2)[2] for line in listing.splitlines() if len(line.split(" ", 2)) == 3]
  foreign = [name for name in names
             if not re.match(r"baleen_|baleen::|BALEEN_0", name)]
  check(not foreign, f"{library.name} shows {foreign[:5]}")
  check(len([n for n in names if n.startswith("baleen_")]) > 40, "the C API is not all there")


def check_package(prefix):
  """The link line that others get names no library of ours."""
  text = "".join(p.read_text() for p in prefix.glob("lib*/**/cmake/baleen/*.cmake"))
  check("baleen::baleen" in text, "no CMake package was installed")
  for word in ("rocksdb", "sqlite", "lua", "nlohmann", "spdlog", "grpc", "protobuf", "absl"):
    check(word not in text.lower(), f"the CMake package names {word}")


def check_first_headers(source, library, model, place):
  """What was built against the first header set goes on, with and without a compiler."""
  old = source / "tests/data/abi/v1"
  header = (old / "include/baleen/baleen.h").read_text()
  verbs = {f"baleen_{verb}" for verb in re.findall(r"^BALEEN_VERB\((\w+)\)", header, re.M)}
  promised = verbs | set(re.findall(r"^BALEEN_API [\w* ]*?\b(baleen_\w+)\(", header, re.M))
  check(len(promised) > 40, f"only {len(promised)} functions were read from the first header")
  shown = {word.split("@")[0] for word in run("nm", "-D", "--defined-only", library).split()}
  check(promised <= shown, f"{library.name} lacks {sorted(promised - shown)}")
  today = (source / "runtime/c/include/baleen/baleen.h").read_text()
  now = dict(re.findall(r"^  (BALEEN_\w+) = (\d+)", today, re.M))
  for name, number in re.findall(r"^  (BALEEN_\w+) = (\d+)", header, re.M):
    check(now.get(name) == number, f"{name} was {number} and is {now.get(name)}")
  built = place / "first_headers"
  run("cc", "-std=c99", f"-I{old}/include", old / "embed_c.c", library,
      f"-Wl,-rpath,{library.parent}", "-o", built)
  check_runs(built, model, place / "data-first")
  if platform.machine() != "x86_64":
    print("SKIP: the program that was built then is for x86-64")
    return
  check_runs(old / "embed_c.x86_64", model, place / "data-unrecompiled",
             env={**os.environ, "LD_LIBRARY_PATH": str(library.parent)})


def check_default_model(prefix):
  """Krill is installed, and found by a program that no model is named to."""
  done = subprocess.run([prefix / "bin/baleen", "doctor", "--data-dir", prefix / "data", "--json"],
                        stdout=subprocess.PIPE, text=True, check=False)
  found = {c["check"]: c for c in json.loads(done.stdout)["checks"]}["model"]
  check(found["verdict"] == "ok" and str(prefix / "share") in found["found"],
        f"the installed program does not find the installed model: {found}")


def check_plugins(options, prefix, model, place):
  """The template project of native tools is built against tools_sdk alone, tested, and used."""
  sdk = place / "sdk"
  run("cmake", "--install", options.build, "--prefix", sdk, "--component", "tools_sdk")
  kinds = {file.suffix for file in sdk.rglob("*") if file.is_file()}
  check(kinds == {".h", ".cmake", ".pc"}, f"tools_sdk alone installs {sorted(kinds)}")
  project = place / "plugin"
  shutil.copytree(options.source / "examples/plugin", project)
  baleen, build = prefix / "bin/baleen", project / "build"
  # In the sandbox, if this machine has one.
  trial = ["bwrap", "--unshare-user", "--ro-bind", "/", "/", "true"]
  sandboxed = shutil.which("bwrap") and subprocess.run(trial, check=False).returncode == 0
  plugin = "--plugin" if sandboxed else "--plugin-unsandboxed"
  # What it says at its head that one types, as it stands there.
  typed = re.findall(r"^#   (.*)", (project / "CMakeLists.txt").read_text(), re.M)
  check(len(typed) == 2, f"examples/plugin/CMakeLists.txt says to type {typed}")
  there = {"cwd": project, "env": {**os.environ, "CMAKE_GENERATOR": "Ninja", "CMAKE_PREFIX_PATH": str(sdk),
                                   "PATH": f"{prefix / 'bin'}:{os.environ['PATH']}"}}
  tested = run("sh", "-c", typed[0], **there)
  check("100% tests passed" in tested and "out of 2" in tested, tested)
  shown = run("sh", "-c", typed[1].replace("--plugin ", plugin + " "), **there)
  check("count 1.0" in shown and "watch" in shown, f"`{typed[1]}` shows:\n{shown}")
  if shutil.which("pkg-config"):
    config = {"PKG_CONFIG_PATH": str(next(sdk.rglob("baleen-tool.pc")).parent), "PATH": "/usr/bin"}
    flags = run("pkg-config", "--cflags", "baleen-tool", env=config).split()
    run("cc", "-std=c11", "-shared", "-fPIC", *flags, project / "count.c", "-o", place / "count.so")
    check("count 1.0" in run(baleen, "tools", "list", plugin, place / "count.so"),
          "the plugin that was built by pkg-config offers no tool")
  plugins = [plugin, build / "count.so", "--plugin-in-process", build / "watch.so"]
  listed = run(baleen, "tools", "list", "--json", *plugins)
  tools = {tool["name"]: tool for tool in map(json.loads, listed.splitlines())}
  check(tools["read"]["origin"] == "built in", f"read is {tools['read']['origin']}")
  check(tools["count"]["origin"].startswith("count 1.0, ") and
        tools["watch"]["origin"].endswith("in process"), f"origins: {tools}")
  script = place / "count.lua"
  script.write_text('return function(message) return baleen.call("count", { text = message }) end')
  said = run(baleen, "run", script, "--input", "one two", "--model", model, "--data-dir",
             place / "data-plugin", "--allow", "count", plugin, build / "count.so")
  check("0 lines, 2 words, 7 bytes" in said, f"the plugin's tool was not called:\n{said}")


def check_runs(program, model, folder, **options):
  first = run(program, model, folder, **options)
  check("the model asks for the selection" in first, f"{program.name} served no call:\n{first}")
  check("from before" not in first, f"{program.name} found a session in a new folder")
  again = run(program, model, folder, **options)
  check("the session is there from before" in again, f"{program.name} lost its session:\n{again}")
  check("turn t2" in again, f"{program.name} did not go on:\n{again}")


def main():
  parser = argparse.ArgumentParser(description=__doc__)
  parser.add_argument("--build", type=lambda p: pathlib.Path(p).resolve(), required=True)
  parser.add_argument("--source", type=lambda p: pathlib.Path(p).resolve(), required=True)
  parser.add_argument("--tokenizer", type=lambda p: pathlib.Path(p).resolve(), required=True)
  parser.add_argument("--whole", action="store_true", help="build by add_subdirectory, too")
  options = parser.parse_args()
  with tempfile.TemporaryDirectory(prefix="baleen-install-") as scratch:
    place = pathlib.Path(scratch)
    prefix = place / "prefix"
    run("cmake", "--install", options.build, "--prefix", prefix)
    library = next(prefix.glob("lib*/**/libbaleen.so"))
    check_symbols(library)
    check_package(prefix)
    check_default_model(prefix)
    # A project of somebody else's: nothing of the tree is beside it.
    project = place / "project"
    shutil.copytree(options.source / "examples/embed", project)
    model = place / "model"
    run(prefix / "bin/baleen", "make-tiny", model, "--tokenizer", options.tokenizer)
    build = place / "build"
    run("cmake", "-S", project, "-B", build, "-G", "Ninja", f"-DCMAKE_PREFIX_PATH={prefix}")
    run("cmake", "--build", build)
    for name in ("embed_c", "embed_cpp"):
      check_runs(build / name, model, place / f"data-{name}")
    check_first_headers(options.source, library, model, place)
    check_plugins(options, prefix, model, place)
    if shutil.which("pkg-config"):
      flags = run("pkg-config", "--cflags", "--libs", "baleen",
                  env={"PKG_CONFIG_PATH": str(library.parent / "pkgconfig"), "PATH": "/usr/bin"})
      run("cc", "-std=c99", project / "embed_c.c", *flags.split(),
          f"-Wl,-rpath,{library.parent}", "-o", place / "by_pkg_config")
      check_runs(place / "by_pkg_config", model, place / "data-pkg")
    inside = place / "inside"
    run("cmake", "-S", project, "-B", inside, "-G", "Ninja",
        f"-DBALEEN_SOURCE_DIR={options.source}")
    if options.whole:
      run("cmake", "--build", inside, "--target", "embed_c", "embed_cpp")
      for name in ("embed_c", "embed_cpp"):
        check_runs(inside / name, model, place / f"data-inside-{name}")
  print("installed, found, embedded and run: C and C++")
  return 0


if __name__ == "__main__":
  sys.exit(main())
