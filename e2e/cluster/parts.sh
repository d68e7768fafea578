# shellcheck shell=bash
# The parts of the cluster: how each is started, when it is ready, how it is stopped. Sourced after process.sh, settings.sh.

# part_command PART: sets COMMAND, and INPUTS to the files whose change asks for a restart.
part_command() {
  local kubernetes etcd
  kubernetes=$(tool_folder kubernetes)
  etcd=$(tool_folder etcd)
  INPUTS=()
  case $1 in
    etcd)
      # Without fsync: a killed process loses nothing, only a machine without power does, and tests are much faster.
      COMMAND=("$etcd/etcd" --name node-1 --data-dir "$STATE/etcd" --unsafe-no-fsync --quota-backend-bytes 4294967296
        --listen-client-urls "http://127.0.0.1:$ETCD_PORT" --advertise-client-urls "http://127.0.0.1:$ETCD_PORT"
        --listen-peer-urls "http://127.0.0.1:$ETCD_PEER_PORT" --initial-advertise-peer-urls "http://127.0.0.1:$ETCD_PEER_PORT"
        --initial-cluster "node-1=http://127.0.0.1:$ETCD_PEER_PORT" --log-level warn) ;;
    apiserver)
      INPUTS=("$PKI"/{ca,apiserver,apiserver-kubelet-client,aggregator}.crt "$PKI/service-account.pub")
      COMMAND=("$kubernetes/kube-apiserver" --etcd-servers "http://127.0.0.1:$ETCD_PORT" --secure-port "$API_PORT"
        --bind-address "$NODE_ADDRESS" --advertise-address "$NODE_ADDRESS" --allow-privileged=true
        --authorization-mode 'Node,RBAC' --enable-admission-plugins NodeRestriction --service-cluster-ip-range "$SERVICE_RANGE"
        --client-ca-file "$PKI/ca.crt" --tls-cert-file "$PKI/apiserver.crt" --tls-private-key-file "$PKI/apiserver.key"
        --service-account-key-file "$PKI/service-account.pub" --service-account-signing-key-file "$PKI/service-account.key"
        --service-account-issuer https://kubernetes.default.svc.cluster.local
        --kubelet-certificate-authority "$PKI/ca.crt" --kubelet-preferred-address-types InternalIP
        --kubelet-client-certificate "$PKI/apiserver-kubelet-client.crt" --kubelet-client-key "$PKI/apiserver-kubelet-client.key"
        --requestheader-client-ca-file "$PKI/ca.crt" --requestheader-allowed-names front-proxy-client
        --requestheader-username-headers X-Remote-User --requestheader-group-headers X-Remote-Group
        --requestheader-extra-headers-prefix X-Remote-Extra-
        --proxy-client-cert-file "$PKI/aggregator.crt" --proxy-client-key-file "$PKI/aggregator.key"
        --event-ttl 24h --profiling=false) ;;
    controller-manager)
      # The grace period: a minute without the API server is not the death of the only node, or all its pods would count as
      # not ready when the API server returns, and all Services would be without endpoints.
      INPUTS=("$PKI"/{ca,controller-manager}.crt)
      COMMAND=("$kubernetes/kube-controller-manager" --kubeconfig "$CONFIGURATION/controller-manager.kubeconfig"
        --authentication-kubeconfig "$CONFIGURATION/controller-manager.kubeconfig"
        --authorization-kubeconfig "$CONFIGURATION/controller-manager.kubeconfig"
        --bind-address 127.0.0.1 --tls-cert-file "$PKI/controller-manager.crt" --tls-private-key-file "$PKI/controller-manager.key"
        --leader-elect=false --use-service-account-credentials --flex-volume-plugin-dir "$KUBELET_ROOT/volume-plugins"
        --allocate-node-cidrs=true --cluster-cidr "$POD_RANGE" --node-monitor-grace-period=3m0s
        --service-cluster-ip-range "$SERVICE_RANGE" --root-ca-file "$PKI/ca.crt"
        --service-account-private-key-file "$PKI/service-account.key"
        --cluster-signing-cert-file "$PKI/ca.crt" --cluster-signing-key-file "$PKI/ca.key" --profiling=false) ;;
    scheduler)
      INPUTS=("$PKI"/{ca,scheduler}.crt)
      COMMAND=("$kubernetes/kube-scheduler" --kubeconfig "$CONFIGURATION/scheduler.kubeconfig"
        --authentication-kubeconfig "$CONFIGURATION/scheduler.kubeconfig" --authorization-kubeconfig "$CONFIGURATION/scheduler.kubeconfig"
        --bind-address 127.0.0.1 --tls-cert-file "$PKI/scheduler.crt" --tls-private-key-file "$PKI/scheduler.key"
        --leader-elect=false --profiling=false) ;;
    containerd)
      INPUTS=("$CONFIGURATION/containerd.toml")
      COMMAND=(containerd --config "$CONFIGURATION/containerd.toml" --log-level warn) ;;
    kubelet)
      INPUTS=("$CONFIGURATION/kubelet.yaml" "$CONFIGURATION/resolv.conf" "$PKI"/{ca,kubelet}.crt)
      COMMAND=("$kubernetes/kubelet" --config "$CONFIGURATION/kubelet.yaml" --kubeconfig "$CONFIGURATION/kubelet.kubeconfig"
        --root-dir "$KUBELET_ROOT" --hostname-override "$NODE" --node-ip "$NODE_ADDRESS") ;;
    kube-proxy)
      INPUTS=("$CONFIGURATION/kube-proxy.yaml" "$PKI"/{ca,kube-proxy}.crt)
      COMMAND=("$kubernetes/kube-proxy" --config "$CONFIGURATION/kube-proxy.yaml") ;;
    volume-provisioner)
      INPUTS=("$REPOSITORY/e2e/cluster/volume-provisioner" "$PKI"/{ca,admin}.crt)
      COMMAND=("$REPOSITORY/e2e/cluster/volume-provisioner" "$kubernetes/kubectl" "$STATE" "$NODE") ;;
  esac
}

# part_programs PART: a pattern of the programs that its process and its children run.
part_programs() {
  case $1 in
    apiserver | controller-manager | scheduler) echo "kube-$1" ;;
    volume-provisioner) echo 'bash|kubectl|jq|sleep' ;;
    *) echo "$1" ;;
  esac
}

# end_strays PART
end_strays() {
  local pid
  for pid in $(marked_pids "$1" "$(part_programs "$1")"); do end_process "$pid" "$(grace_seconds "$1")"; done
}

# part_ready PART: whether it does its work, not only whether it runs.
part_ready() {
  case $1 in
    etcd) curl -fsS -m 2 "http://127.0.0.1:$ETCD_PORT/health" | grep -q '"health":"true"' ;;
    apiserver) curl -fsS -m 5 --cacert "$PKI/ca.crt" --cert "$PKI/admin.crt" --key "$PKI/admin.key" "$API_URL/readyz" ;;
    controller-manager) curl -fsS -m 2 --cacert "$PKI/ca.crt" https://127.0.0.1:10257/healthz ;;
    scheduler) curl -fsS -m 2 --cacert "$PKI/ca.crt" https://127.0.0.1:10259/readyz ;;
    containerd) ctr --address "$CONTAINERD_SOCKET" --connect-timeout 2s --namespace k8s.io containers ls -q ;;
    kubelet) curl -fsS -m 2 "http://127.0.0.1:$KUBELET_HEALTH_PORT/healthz" ;;
    kube-proxy) curl -fsS -m 2 "http://127.0.0.1:$PROXY_HEALTH_PORT/healthz" ;;
    volume-provisioner) true ;;
  esac
}

# start_part PART: starts it unless it runs already with the same command and inputs.
start_part() {
  local part=$1 signature pid
  part_command "$part"
  signature=$({ printf '%s\n' "${COMMAND[@]}"; cat "${INPUTS[@]}" /dev/null; } | sha256sum | cut -c1-16)
  if pid=$(recorded_pid "$part"); then
    if [ "$(recorded_signature "$part")" = "$signature" ]; then return; fi
    say "  $part: its configuration changed; restarting it"
    end_process "$pid" "$(grace_seconds "$part")"
  fi
  # One that an `up` started and was killed before it could record it, or the children of a part that was killed.
  end_strays "$part"
  spawn "$part" "$signature" "$LOGS/$part.log" "${COMMAND[@]}"
  STARTED=$((STARTED + 1))
}

# await_part PART SECONDS: until it is ready; ends at once, with its last words, when the process ends.
await_part() {
  local part=$1
  still_possible() { recorded_pid "$part" >/dev/null; }
  if ! wait_until "$2" "$part" part_ready "$part"; then
    say "--- end of $LOGS/$part.log"
    tail -n 15 "$LOGS/$part.log" >&2 || true
    if still_possible; then fail "$part is not ready"; else fail "$part ended right after its start"; fi
  fi
  unset -f still_possible
}

# The API server would wait a minute for its clients to end their watches; it keeps nothing that could be lost.
grace_seconds() { if [ "$1" = apiserver ]; then echo 3; else echo 20; fi; }

stop_part() {
  local pid
  if pid=$(recorded_pid "$1"); then end_process "$pid" "$(grace_seconds "$1")"; fi
  rm -f "$RUN/$1.process"
}
