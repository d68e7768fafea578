# shellcheck shell=bash
# What the scripts of the local cluster and of the images share: folders, messages, waiting, locks. Sourced, not run.
set -euo pipefail
umask 022

REPOSITORY=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
CACHE=${AIOPS_CACHE:-${XDG_CACHE_HOME:-${HOME:?HOME is not set}/.cache}/aiops}
export REPOSITORY CACHE

# Administrators' programs are not on everyone's PATH.
PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin

say() { printf '%s\n' "$*" >&2; }

fail() {
  printf '%s: %s\n' "$(basename "$0")" "$*" >&2
  exit 1
}

need_root() { [ "$(id -u)" = 0 ] || fail "$1 needs root; run it as root or with sudo -E"; }

# shellcheck disable=SC2120 # the argument is optional: without one, the seconds since the script started
seconds_since() { echo $((SECONDS - ${1:-0})); }

# step TEXT COMMAND…: runs the command and tells how long it took. The command is in no condition here: in one, bash would
# go on after errors inside of it. Only a caller that checks for itself comes to the line after.
step() {
  local text=$1 started=$SECONDS
  shift
  "$@"
  local code=$?
  [ "$code" = 0 ] || return "$code"
  say "  $text: $(seconds_since "$started") s"
}

# wait_until SECONDS TEXT COMMAND…: repeats the command, quietly, until it succeeds. What it waits for is said once,
# and only if it takes more than a moment. `still_possible`, where the caller defines it, ends a wait that is in vain.
wait_until() {
  local limit=$1 text=$2 started=$SECONDS said=
  shift 2
  until "$@" >/dev/null 2>&1; do
    if declare -F still_possible >/dev/null && ! still_possible; then return 1; fi
    if [ "$(seconds_since "$started")" -ge "$limit" ]; then
      say "  gave up waiting for $text after $limit s"
      return 1
    fi
    if [ -z "$said" ] && [ "$(seconds_since "$started")" -ge 3 ]; then
      say "  waiting for $text (at most $limit s)"
      said=yes
    fi
    sleep 0.3
  done
}

# lock FILE WHAT: holds an exclusive lock until the script ends. Whoever starts a process that outlives the script closes
# the descriptor in it (`9>&-`), or the lock would live as long as that process.
lock() {
  mkdir -p "$(dirname "$1")"
  exec 9>"$1"
  flock --nonblock 9 && return
  say "$2 is busy in another process; waiting for it"
  flock 9
}

unlock() { exec 9>&-; }

# Part of the key of every Go program: to be increased when build-tools builds them in another way.
TOOLS_REVISION=2

# tool_key TOOL: what the binaries of e2e/tools/TOOL depend on, as a short hash.
tool_key() {
  local folder=$REPOSITORY/e2e/tools/$1
  [ -f "$folder/go.sum" ] || fail "e2e/tools/$1 has no go.sum; run 'go mod tidy' there"
  command -v go >/dev/null || fail "Go is not on the PATH; install Go 1.26 or later (https://go.dev/dl)"
  { cat "$folder/go.mod" "$folder/go.sum"; echo "$TOOLS_REVISION"; go env GOVERSION GOARCH; } | sha256sum | cut -c1-16
}

tool_folder() { echo "$CACHE/tools/$1-$(tool_key "$1")"; }

# filesystem_takes_overlays FOLDER: whether overlayfs can have its upper folder there (not on another overlayfs).
filesystem_takes_overlays() {
  local probe
  mkdir -p "$1"
  probe=$(mktemp -d "$1/.overlay-XXXXXX")
  mkdir "$probe"/{lower,upper,work,merged}
  local answer=1
  if mount -t overlay overlay -o "lowerdir=$probe/lower,upperdir=$probe/upper,workdir=$probe/work" "$probe/merged" 2>/dev/null; then
    umount "$probe/merged"
    answer=0
  fi
  rm -rf "$probe"
  return "$answer"
}
