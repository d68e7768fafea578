# shellcheck shell=bash
# Takes away all that a cluster of ours puts on the machine, also where its records are lost: what down does, and up before a
# start from nothing. Sourced after process.sh, settings.sh, cgroups.sh, parts.sh.

# Bits of kernel configuration that the kubelet, kube-proxy or we set.
KERNEL_SETTINGS=(net/ipv4/ip_forward net/ipv4/conf/all/route_localnet net/bridge/bridge-nf-call-iptables vm/overcommit_memory
  vm/panic_on_oom kernel/panic kernel/panic_on_oops kernel/keys/root_maxkeys kernel/keys/root_maxbytes)

remember_kernel_settings() {
  local setting
  [ ! -f "$RUN/kernel-settings" ] || return 0
  for setting in "${KERNEL_SETTINGS[@]}"; do
    [ ! -r "/proc/sys/$setting" ] || echo "$setting $(<"/proc/sys/$setting")"
  done >"$RUN/kernel-settings.new"
  mv "$RUN/kernel-settings.new" "$RUN/kernel-settings"
}

restore_kernel_settings() {
  local setting value
  [ -f "$RUN/kernel-settings" ] || return 0
  while read -r setting value; do
    [ "$(<"/proc/sys/$setting")" = "$value" ] || echo "$value" >"/proc/sys/$setting" || true
  done <"$RUN/kernel-settings"
}

# All that our marked processes may run.
PROGRAMS='etcd|kube-apiserver|kube-controller-manager|kube-scheduler|kube-proxy|kubelet|containerd|containerd-shim-runc-v2|bash|kubectl|jq|sleep'

# Who restarts others goes first: kubelet and controllers, then pods, then what they need.
end_all_processes() {
  local part pid
  for part in kubelet volume-provisioner kube-proxy scheduler controller-manager; do stop_part "$part"; done
  for pid in $(marked_pids '.*' kubelet); do end_process "$pid" 10; done
  kill_cgroup
  # A shim leaves by itself once containerd has deleted its task, which will not happen now.
  for pid in $(marked_pids '.*' containerd-shim-runc-v2); do kill -KILL "$pid" 2>/dev/null || true; done
  for part in containerd apiserver etcd; do stop_part "$part"; done
  for pid in $(marked_pids '.*' "$PROGRAMS"); do end_process "$pid" 5; done
  kill_cgroup
}

# unmount_below FOLDER_PATTERN: what is mounted in folders of such a name, in any state folder.
unmount_below() {
  local point
  awk -v folder="/($1)(/|\$)" '$5 ~ folder {print $5}' /proc/self/mountinfo | sort -r | while read -r point; do
    point=$(printf '%b' "$point") # spaces are written as \040
    umount "$point" 2>/dev/null || umount --lazy "$point" || say "  $point cannot be unmounted"
  done
}

remove_links() {
  local link
  for link in $(ip -o link show master "$POD_BRIDGE" 2>/dev/null | awk -F': ' '{print $2}' | cut -d@ -f1); do ip link delete "$link" 2>/dev/null || true; done
  for link in "$POD_BRIDGE" "$NODE_BRIDGE"; do
    if ip link show "$link" >/dev/null 2>&1; then ip link delete "$link"; fi
  done
}

# another_cluster_runs: whether the machine is a node of somebody else's cluster, which has chains of the same names.
another_cluster_runs() { [ -n "$(pids_of_others 'kubelet|kube-proxy|k3s|k3s-server|k3s-agent|rke2|k0s')" ]; }

# chains_of_ours COMMAND TABLE: the chains that kube-proxy and the kubelet made, unless another cluster runs, and those that
# the network plugins made for our pod network; other programs use the same plugins for networks of their own.
chains_of_ours() {
  local kubernetes='^KUBE-'
  if another_cluster_runs; then kubernetes='^$'; fi
  "$1-save" -t "$2" 2>/dev/null | awk -v kubernetes="$kubernetes" -v network="$POD_NETWORK" '
    /^:/ { chains[substr($1, 2)] = 1 }
    $1 == "-A" && match($0, / -j CNI-[^ ]+/) {
      target = substr($0, RSTART + 4, RLENGTH - 4)
      if (index($0, "name: \\\"" network "\\\"")) ours[target] = 1
      else if (target !~ /^CNI-HOSTPORT-/) others = 1
    }
    END {
      for (chain in chains) {
        shared = chain ~ /^CNI-HOSTPORT-/ && !others
        if (chain ~ kubernetes || chain in ours || shared) print chain
      }
    }'
}

# remove_chains COMMAND (iptables or ip6tables): our chains and the rules that lead to them; all else stays.
remove_chains() {
  local table
  command -v "$1" >/dev/null || return 0
  for table in filter nat mangle; do
    { chains_of_ours "$1" "$table"; echo; "$1-save" -t "$table" 2>/dev/null; } | awk -v table="$table" '
      $0 == "" { listed = 1 }
      !listed { chains[$1] = 1; next }
      $1 == "-A" && !($2 in chains) && match($0, / -j [^ ]+/) {
        if (substr($0, RSTART + 4, RLENGTH - 4) in chains) rules[++count] = "-D" substr($0, 3)
      }
      END {
        print "*" table
        for (chain in chains) print ":" chain " - [0:0]"
        for (i = 1; i <= count; i++) print rules[i]
        for (chain in chains) print "-X " chain
        print "COMMIT"
      }' | "$1-restore" --wait 10 --noflush || say "  our chains of $1's table $table could not be removed"
  done
}

chains_are_left() {
  local command table
  for command in iptables ip6tables; do
    for table in filter nat mangle; do
      if chains_of_ours "$command" "$table" | grep -q .; then return 0; fi
    done
  done
  return 1
}

# A socket that no process listens on is dead.
remove_dead_socket() {
  if [ -S "$1" ] && ! ss -xlH src "$1" | grep -q .; then rm -f "$1"; fi
}

remove_files() {
  local socket link
  # Where containerd's shims listen is not configurable.
  for socket in /run/containerd/s/*; do remove_dead_socket "$socket"; done
  rmdir /run/containerd/s /run/containerd/fifo /run/containerd 2>/dev/null || true
  # What the network plugins answered, which containerd keeps for each pod; ours name our network or our folder.
  rm -f /var/lib/cni/results/"$POD_NETWORK"-*
  grep -slF /aiops-containerd/ /var/lib/cni/results/* | xargs -r rm -f
  rmdir /var/lib/cni/results /var/lib/cni/cache /var/lib/cni 2>/dev/null || true
  # The kubelet links every container's log there, for collectors.
  for link in /var/log/containers/*.log; do
    if [ -L "$link" ] && [[ $(readlink "$link") == */pod-logs/* ]]; then rm -f "$link"; fi
  done
  # Where the kubelet listens for device plugins, whatever its root folder is.
  remove_dead_socket /var/lib/kubelet/device-plugins/kubelet.sock
  rmdir /var/log/containers /var/lib/kubelet/device-plugins /var/lib/kubelet 2>/dev/null || true
}

# remove_everything: after it, nothing of a cluster of ours is on the machine, but for the state folder.
remove_everything() {
  end_all_processes
  unmount_below 'aiops-kubelet|aiops-containerd'
  remove_links
  remove_chains iptables
  remove_chains ip6tables
  remove_cgroup
  remove_files
  restore_kernel_settings
  rm -rf "$RUN"
  [ -z "${STATE:-}" ] || remove_run_time_state
}

# Addresses that pods held, and containerd's record of what runs: for when nothing does.
remove_run_time_state() { rm -rf "$STATE/pod-addresses" "$CONTAINERD_ROOT/state" "$CONTAINERD_ROOT/runc" "$CONTAINERD_SOCKET"*; }

# forget_lost_pods: where containerd and all its shims were killed, nobody knows the containers any more. Those that still run
# would write beside the ones that replace them, and their mounts would hold the folders that have to be emptied.
forget_lost_pods() {
  [ -z "$(marked_pids containerd 'containerd|containerd-shim-runc-v2')" ] || return 0
  kill_cgroup
  unmount_below aiops-containerd
  remove_run_time_state
}

# anything_left: whether some of it is there, and says what. Chains of Kubernetes' names are ours only beside something that
# surely is.
anything_left() {
  local found=()
  [ ! -d "$RUN" ] || found+=("records of $(cat "$RUN/state-folder" 2>/dev/null || echo 'an unknown state folder')")
  [ -z "$(marked_pids '.*' 'etcd|kube-.*|kubelet|containerd.*')" ] || found+=(processes)
  ! ip link show "$POD_BRIDGE" >/dev/null 2>&1 || found+=("bridge $POD_BRIDGE")
  ! ip link show "$NODE_BRIDGE" >/dev/null 2>&1 || found+=("bridge $NODE_BRIDGE")
  ! grep -qE '/aiops-(kubelet|containerd)[/ ]' /proc/self/mountinfo || found+=(mounts)
  [ -z "$(pids_in_cgroup)" ] || found+=("processes of pods")
  [ ${#found[@]} != 0 ] || return 1
  if chains_are_left; then found+=("iptables chains"); fi
  printf '%s; ' "${found[@]}" | sed 's/; $/\n/'
}
