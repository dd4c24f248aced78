#!/usr/bin/env bash
# Reproduces the classical models on the five classes: about 10 minutes of one CPU core.
# Learned from Training, measured on PublicTest; then once more by the tutorials' random split, which leaks copies.
#   runs/reproduce_classical.sh fer2013.csv OUT
set -euo pipefail
csv=$1 out=$2
export OMP_NUM_THREADS=1
mien train-baseline "$csv" --labels five --features pixels -o "$out"
mien train-baseline "$csv" --labels five --features distances -o "$out"
mien train-baseline "$csv" --labels five --features pixels --model knn --model mlp --hold-out 0.1 --seed 42 -o "$out/random-split"
