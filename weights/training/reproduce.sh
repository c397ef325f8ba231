#!/bin/sh
# Everything from nothing: render the clips, train the three twins and the default one on larger
# frames, print every figure.
# Usage: sh weights/training/reproduce.sh WORK_FOLDER [FOOTAGE_FOLDER]
set -eu
work=$1
footage=${2:-}
python=${PYTHON:-python}

# glibc gives large blocks back to the system after each layer; keeping them makes training faster.
export MALLOC_MMAP_THRESHOLD_=4000000000 MALLOC_TRIM_THRESHOLD_=4000000000
export MALLOC_TOP_PAD_=512000000

render() {
    out=$work/data/$1 seed=$2 bank=$3 count=$4
    shift 4
    "$python" -m weights.training.generator "$out" --seed "$seed" --bank "$bank" --count "$count" "$@"
}
render train0 0 1 24000
render train1 1 11 24000
render val 91 3 540
slow='--size 128 --low 0.003 --high 0.05 --labels 0 1 2 3 4 0 5 6 7 8 --crowds 0.2'
render fine 2 21 8000 $slow
render fineval 92 3 540 $slow

for mode in online offline tsn; do
    "$python" -m weights.training.train --mode "$mode" --seed 0 --phases 32:3500,64:5500 \
        --data "$work/data/train0" "$work/data/train1" --val "$work/data/val" --out "$work/run"
done

"$python" -m weights.training.train --seed 3 --start "$work/run/online.pt" --tag -fine \
    --phases own:1400 --lr 1.5e-3 --data "$work/data/train0" "$work/data/train1" "$work/data/fine" \
    --val "$work/data/val" "$work/data/fineval" --out "$work/run"

"$python" -m weights.training.evaluate \
    "online=$work/run/online.pt" "offline=$work/run/offline.pt" "tsn=$work/run/tsn.pt" registration \
    ${footage:+--footage "$footage"} --cache "$work/data/test" --json "$work/run/evaluation.json"
