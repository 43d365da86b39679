#!/usr/bin/env bash
. "$(dirname "$0")/../../lib.sh"
node
ip route del default
watch
collect
