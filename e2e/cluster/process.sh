# shellcheck shell=bash
# Processes that outlive the script which starts them: recorded by id, start time and boot, so that a number that was given
# to another process since is never signalled. Sourced after lib.sh; records live in RUN.

# start_time PID: clock ticks from boot to the process's start (field 22 of stat; its name, field 2, may hold spaces).
start_time() {
  local stat
  { stat=$(<"/proc/$1/stat"); } 2>/dev/null || return 1
  stat=${stat##*) }
  local fields
  read -ra fields <<<"$stat"
  # A zombie has ended already; whoever started it has not asked yet.
  [ "${fields[0]}" != Z ] || return 1
  echo "${fields[19]}"
}

boot() { cat /proc/sys/kernel/random/boot_id; }

# recorded_pid NAME: the process's id if it is still the very process that was recorded.
recorded_pid() {
  local pid started of_boot
  [ -f "$RUN/$1.process" ] || return 1
  read -r pid started of_boot _ <"$RUN/$1.process" || return 1
  [ "$of_boot" = "$(boot)" ] && [ "$(start_time "$pid")" = "$started" ] || return 1
  echo "$pid"
}

# recorded_signature NAME: what the running process was started from.
recorded_signature() {
  local signature
  read -r _ _ _ signature <"$RUN/$1.process" && echo "$signature"
}

# spawn NAME SIGNATURE LOG COMMAND…: starts a process in a session of its own and records it.
spawn() {
  local name=$1 signature=$2 log=$3 pid
  shift 3
  if [ -f "$log" ]; then mv "$log" "$log.previous"; fi
  # The mark tells ours from others where the record was lost; setsid keeps a Ctrl-C in the terminal away.
  env AIOPS_CLUSTER_PART="$name" setsid "$@" </dev/null >"$log" 2>&1 9>&- &
  pid=$!
  disown
  # `env` and `setsid` become the program by exec, so the id and the start time stay.
  printf '%s %s %s %s\n' "$pid" "$(start_time "$pid" || echo 0)" "$(boot)" "$signature" >"$RUN/$name.process.new"
  mv "$RUN/$name.process.new" "$RUN/$name.process"
}

is_gone() { ! start_time "$1" >/dev/null; }

# end_process PID GRACE_SECONDS: SIGTERM, and SIGKILL where that is not enough.
end_process() {
  kill -TERM "$1" 2>/dev/null || return 0
  wait_for_end "$1" "$2" && return
  kill -KILL "$1" 2>/dev/null || return 0
  wait_for_end "$1" 10 || say "  process $1 does not end, even by SIGKILL"
}

wait_for_end() {
  local deadline=$((SECONDS + $2))
  until is_gone "$1"; do
    [ $SECONDS -lt $deadline ] || return 1
    sleep 0.1
  done
}

# pids_of_program PATTERN: one that was killed and waits for its parent has no program any more.
pids_of_program() {
  local folder program
  for folder in /proc/[0-9]*; do
    program=$(readlink "$folder/exe" 2>/dev/null) || continue
    program=${program% (deleted)}
    if [[ ${program##*/} =~ ^($1)$ ]]; then echo "${folder#/proc/}"; fi
  done
}

# carries_mark PID PART_PATTERN
carries_mark() { { tr "\0" "\n" <"/proc/$1/environ"; } 2>/dev/null | grep -qE "^AIOPS_CLUSTER_PART=($2)$"; }

# marked_pids PART_PATTERN PROGRAM_PATTERN: processes that carry our mark and whose program is one that we start. Both,
# because a shell that someone opened with a part's environment would carry the mark as well.
marked_pids() {
  local pid
  for pid in $(pids_of_program "$2"); do
    if carries_mark "$pid" "$1"; then echo "$pid"; fi
  done
}

# pids_of_others PROGRAM_PATTERN
pids_of_others() {
  local pid
  for pid in $(pids_of_program "$1"); do
    if ! carries_mark "$pid" '.*'; then echo "$pid"; fi
  done
}
