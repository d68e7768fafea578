# shellcheck shell=bash
# Writes the configuration files of containerd, its network plugins, kubelet and kube-proxy. Sourced by up.

# replace_file FILE: with what comes in, unless that is what is there: kube-proxy ends when its file is written to.
replace_file() {
  (umask 077 && cat >"$1.new")
  if cmp -s "$1.new" "$1"; then rm "$1.new"; else mv "$1.new" "$1"; fi
}

write_configuration() {
  mkdir -p "$CONFIGURATION/cni" "$LOGS" "$STATE/volumes" "$STATE/pod-logs"
  write_resolver
  write_containerd
  write_pod_network
  write_kubelet
  write_kube_proxy
}

# Pods with the node's own DNS (CoreDNS is one) get the machine's name servers, but for those on its loopback, which is
# another one inside of a pod.
write_resolver() {
  awk '$1 == "nameserver" && $2 !~ /^(127\.|::1)/' /etc/resolv.conf | replace_file "$CONFIGURATION/resolv.conf"
}

write_containerd() {
  local snapshotter=native
  if filesystem_takes_overlays "$STATE"; then snapshotter=overlayfs; fi
  replace_file "$CONFIGURATION/containerd.toml" <<EOF_CONTAINERD
version = 2
root = "$CONTAINERD_ROOT/root"
state = "$CONTAINERD_ROOT/state"
disabled_plugins = ["io.containerd.internal.v1.opt", "io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.zfs"]
[grpc]
  address = "$CONTAINERD_SOCKET"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "docker.io/aiops/pause:dev"
  # Where CAP_SYS_RESOURCE is missing, runc could not set the negative scores that the kubelet asks for, and would die.
  restrict_oom_score_adj = true
  netns_mounts_under_state_dir = true
  enable_unprivileged_ports = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "$CONFIGURATION/cni"
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "$snapshotter"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
      [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
        SystemdCgroup = false
        Root = "$CONTAINERD_ROOT/runc"
EOF_CONTAINERD
}

write_pod_network() {
  replace_file "$CONFIGURATION/cni/10-$POD_NETWORK.conflist" <<EOF_CNI
{
  "cniVersion": "0.4.0",
  "name": "$POD_NETWORK",
  "plugins": [
    {"type": "bridge", "bridge": "$POD_BRIDGE", "isGateway": true, "ipMasq": true, "hairpinMode": true,
     "ipam": {"type": "host-local", "dataDir": "$STATE/pod-addresses", "ranges": [[{"subnet": "$NODE_POD_RANGE"}]],
              "routes": [{"dst": "0.0.0.0/0"}]}},
    {"type": "portmap", "capabilities": {"portMappings": true}}
  ]
}
EOF_CNI
}

# No image comes from a registry, so none may be collected; eviction waits until the disk is really full.
write_kubelet() {
  replace_file "$CONFIGURATION/kubelet.yaml" <<EOF_KUBELET
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
address: $NODE_ADDRESS
port: $KUBELET_PORT
healthzBindAddress: 127.0.0.1
healthzPort: $KUBELET_HEALTH_PORT
authentication:
  anonymous: {enabled: false}
  webhook: {enabled: true}
  x509: {clientCAFile: $PKI/ca.crt}
authorization: {mode: Webhook}
tlsCertFile: $PKI/kubelet.crt
tlsPrivateKeyFile: $PKI/kubelet.key
containerRuntimeEndpoint: unix://$CONTAINERD_SOCKET
cgroupDriver: cgroupfs
cgroupRoot: /$CGROUP
failCgroupV1: false
failSwapOn: false
oomScoreAdj: 0
clusterDNS: [$DNS_ADDRESS]
clusterDomain: cluster.local
resolvConf: $CONFIGURATION/resolv.conf
podLogsDir: $STATE/pod-logs
volumePluginDir: $KUBELET_ROOT/volume-plugins
imageGCHighThresholdPercent: 100
imageGCLowThresholdPercent: 99
evictionHard: {memory.available: 100Mi, nodefs.available: 1Gi, nodefs.inodesFree: 1%, imagefs.available: 1Gi}
evictionPressureTransitionPeriod: 30s
shutdownGracePeriod: 0s
EOF_KUBELET
}

# Without the kernel's bridge filter, an answer to a pod on the same bridge would not pass the rules that translate its
# Service's address back; then every connection to a Service is masqueraded.
write_kube_proxy() {
  local masquerade_all=true
  [ ! -e /proc/sys/net/bridge/bridge-nf-call-iptables ] || masquerade_all=false
  replace_file "$CONFIGURATION/kube-proxy.yaml" <<EOF_PROXY
apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
bindAddress: $NODE_ADDRESS
healthzBindAddress: 127.0.0.1:$PROXY_HEALTH_PORT
metricsBindAddress: 127.0.0.1:10249
clientConnection: {kubeconfig: $CONFIGURATION/kube-proxy.kubeconfig}
hostnameOverride: $NODE
mode: iptables
clusterCIDR: $POD_RANGE
nodePortAddresses: [$NODE_ADDRESS/32]
iptables: {masqueradeAll: $masquerade_all, localhostNodePorts: false}
oomScoreAdj: 0
# Limits of connection tracking are the machine's own affair, and a container may not raise them.
conntrack: {maxPerCore: 0, min: 0, tcpEstablishedTimeout: 0s, tcpCloseWaitTimeout: 0s}
EOF_PROXY
}
