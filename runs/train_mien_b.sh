#!/usr/bin/env bash
# Reproduces mien-b from the data: about 75 minutes on two CPU cores with AVX512-BF16 (see docs/benchmarks.md), longer elsewhere.
#   runs/train_mien_b.sh fer2013.csv fer2013new.csv OUT
set -euo pipefail
csv=$1 votes=$2 out=$3
mien train "$csv" --votes "$votes" --net mien-b --epochs 80 --seed 0 --threads 2 --out "$out"
mien export "$out/best.ckpt" --data "$csv" --votes "$votes" --name mien-b --version 1 --licence Apache-2.0 -o "$out/mien-b.onnx"
mien evaluate "$out/mien-b.onnx" "$csv" --votes "$votes" --labels fer2013 --robustness -o "$out/report-fer2013"
mien evaluate "$out/mien-b.onnx" "$csv" --votes "$votes" --labels ferplus -o "$out/report-ferplus"
