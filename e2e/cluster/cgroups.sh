# shellcheck shell=bash
# The control group that all pods of the cluster live in: making it, ending what runs in it, removing it. Works with version 2,
# with version 1 and with both mounted. Sourced after settings.sh.

# Where the hierarchies are mounted: one with version 2, one a controller with version 1.
hierarchies() {
  awk '{ for (i = 7; i < NF; i++) if ($i == "-" && $(i + 1) ~ /^cgroup2?$/) print $5 }' /proc/self/mountinfo | sort -u
}

# The kubelet demands that the group it is told to use is there, with its controllers.
make_cgroup() {
  local hierarchy controller value
  [ -n "$(hierarchies)" ] || fail "no control groups are mounted below /sys/fs/cgroup"
  while read -r hierarchy; do
    mkdir -p "$hierarchy/$CGROUP"
    # Version 2 hands a controller down only where that is asked for.
    if [ "$hierarchy" = /sys/fs/cgroup ] && [ -f "$hierarchy/cgroup.controllers" ]; then
      for controller in $(<"$hierarchy/cgroup.controllers"); do
        echo "+$controller" >"$hierarchy/cgroup.subtree_control" ||
          fail "the control group $hierarchy cannot hand down '$controller': processes sit in the root group (inside of a container?); move them into a group of their own first"
      done
    fi
    # A new cpuset of version 1 is empty, and no process can enter it.
    for value in cpuset.cpus cpuset.mems; do
      if [ -f "$hierarchy/$CGROUP/$value" ] && [ -z "$(<"$hierarchy/$CGROUP/$value")" ]; then cat "$hierarchy/$value" >"$hierarchy/$CGROUP/$value"; fi
    done
  done < <(hierarchies)
}

pids_in_cgroup() {
  local hierarchy
  while read -r hierarchy; do
    if [ -d "$hierarchy/$CGROUP" ]; then find "$hierarchy/$CGROUP" -name cgroup.procs -exec cat {} + 2>/dev/null || true; fi
  done < <(hierarchies) | sort -un
}

# Pods' processes are not asked to leave: what they hold is on volumes or in no place that lasts.
kill_cgroup() {
  local pids deadline=$((SECONDS + 20))
  while true; do
    mapfile -t pids < <(pids_in_cgroup | grep -vx 0)
    [ ${#pids[@]} != 0 ] || return 0
    kill -KILL "${pids[@]}" 2>/dev/null || true
    if [ $SECONDS -ge $deadline ]; then
      say "  these processes of pods do not end: ${pids[*]}"
      return 0
    fi
    sleep 0.2
  done
}

remove_cgroup() {
  local hierarchy
  while read -r hierarchy; do
    [ ! -d "$hierarchy/$CGROUP" ] || find "$hierarchy/$CGROUP" -depth -type d -exec rmdir {} + 2>/dev/null || say "  the control group $hierarchy/$CGROUP is still in use"
  done < <(hierarchies)
}
