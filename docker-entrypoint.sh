#!/bin/sh
# `api` is `nuanxin serve` on every address of the container; all other words go to `nuanxin` as they are.
set -eu
if [ "${1:-api}" = api ]; then
    [ $# -eq 0 ] || shift
    set -- serve --host 0.0.0.0 "$@"
fi
exec nuanxin "$@"
