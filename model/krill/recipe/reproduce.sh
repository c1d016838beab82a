#!/usr/bin/env bash
# Trains Krill anew: reproduce.sh BALEEN [PYTHON], from anywhere. Everything goes to build/krill.
#
# On two cores alone it takes about ten hours: stages 2 and 3 are 86 of its 95 million tokens. With a
# PYTHON that has torch, transformers and a GPU they run there (pretrain.py, 12 minutes of an H200).
set -euo pipefail
baleen=$(realpath "${1:?usage: reproduce.sh BALEEN [PYTHON]}")
python=${2:-}
recipe=$(cd "$(dirname "$0")" && pwd)
out=$recipe/../../../build/krill
mkdir -p "$out"

train() { # NAME NUMBER
  local resume=()
  [ -d "$out/$2/checkpoints" ] && resume=(--resume)
  "$baleen" train "$recipe/$1.json" --out "$out/$2" "${resume[@]}"
}

long() { # NAME NUMBER START
  if [ -z "$python" ]; then
    train "$1" "$2"
    return
  fi
  "$baleen" train "$recipe/$1.json" --write-samples "$out/$2.jsonl"
  "$python" "$recipe/pretrain.py" pack "$recipe/$1.json" "$out/$2.jsonl" "$out/$2.npz"
  "$python" "$recipe/pretrain.py" train "$recipe/$1.json" "$out/$3/float32" "$out/$2.npz" "$out/$2/float32"
}

train 1-begin 1
long 2-long 2 1
long 3-again 3 2
train 4-indexer 4
train 5-formats 5
echo "Krill is in $out/5/official"
