#!/usr/bin/env bash
. "$(dirname "$0")/../../lib.sh"
node
collect
# As the tool printed it for a listener; none of the tools here opens one.
cat >> "$here/bundle/ss" <<'LINE'
tcp   LISTEN 0      128         0.0.0.0:80        0.0.0.0:*    ino:69237 sk:3 cgroup:/ <->
LINE
