#!/usr/bin/env bash
# Reproduces mien-b 2.2 from the data, in three stages: about two and a half hours on two CPU cores with AVX512-BF16, longer elsewhere.
#   runs/train_mien_b.sh fer2013.csv fer2013new.csv OUT
# A run that was stopped goes on where it was: call the script again.
set -euo pipefail
csv=$1 votes=$2 out=$3
licence="Apache-2.0 as far as mien's authors can give it; trained on FER2013, whose images' rights are unresolved"
train() { # FOLDER OPTIONS…
  mien train "$csv" --votes "$votes" --threads 2 --no-export --out "$1" "${@:2}" $([ -f "$1/last.ckpt" ] && echo --resume)
}

# 1. The first network, on the labels and votes alone.
train "$out/first" --net mien-b --epochs 80 --seed 0
# 2. A small network taught by it: the second teacher.
train "$out/small" --net mien-s --epochs 100 --seed 0 --teacher "$out/first/best.ckpt" \
  --set teacher_views=plain --set augment.erase=0.25 --set augment.mixup_share=0.25
# 3. One more residual block, from the first weights, taught by both.
train "$out/second" --net mien-b2 --epochs 58 --seed 1 --init "$out/first/best.ckpt" \
  --teacher "$out/first/best.ckpt" --teacher "$out/small/best.ckpt" \
  --set teacher_views=plain --set teacher_weight=0.5 --set lr=0.06 --set augment.mixup_share=0.3

mien export "$out/second/best.ckpt" --data "$csv" --votes "$votes" --name mien-b --combined --version 2.2 --licence "$licence" -o "$out/mien-b.onnx"
mien evaluate "$out/mien-b.onnx" "$csv" --votes "$votes" --labels fer2013 --robustness -o "$out/report-fer2013"
mien evaluate "$out/mien-b.onnx" "$csv" --votes "$votes" --labels ferplus --robustness -o "$out/report-ferplus"
