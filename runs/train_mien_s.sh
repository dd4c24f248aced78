#!/usr/bin/env bash
# Reproduces mien-s from the data and what runs/train_mien_b.sh left in its folder: about 90 minutes on two CPU cores with AVX512-BF16.
#   runs/train_mien_s.sh fer2013.csv fer2013new.csv OUT
# A run that was stopped goes on where it was: call the script again.
set -euo pipefail
csv=$1 votes=$2 out=$3
licence="Apache-2.0 as far as mien's authors can give it; trained on FER2013, whose images' rights are unresolved"
more() { [ -f "$1/last.ckpt" ] && echo --resume || true; }
# First stage: taught by both runs of mien-b, which answer once for the plain crop and its mirror image.
mien train "$csv" --votes "$votes" --net mien-s2 --epochs 66 --seed 0 --threads 2 --no-export --out "$out/s2" \
  --teacher "$out/second/best.ckpt" --teacher "$out/first/best.ckpt" \
  --set teacher_views=plain --set teacher_weight=0.7 --set augment.erase=0.25 --set augment.mixup_share=0.25 $(more "$out/s2")
# Second stage: mien-b sees the same augmented view in every step.
mien train "$csv" --votes "$votes" --net mien-s2 --epochs 110 --seed 1 --threads 2 --no-export --out "$out/s2b" \
  --init "$out/s2/best.ckpt" --teacher "$out/second/best.ckpt" --set lr=0.08 --set warmup_epochs=1 \
  --set teacher_views=same --set teacher_weight=0.8 --set augment.erase=0.25 --set augment.mixup_share=0.35 $(more "$out/s2b")
mien export "$out/s2b/best.ckpt" --data "$csv" --votes "$votes" --precision int8 --name mien-s --combined --version 2.2 --licence "$licence" -o "$out/mien-s.onnx"
mien evaluate "$out/mien-s.onnx" "$csv" --votes "$votes" --labels fer2013 --robustness -o "$out/report-fer2013"
mien evaluate "$out/mien-s.onnx" "$csv" --votes "$votes" --labels ferplus --robustness -o "$out/report-ferplus"
